/**
 * A stranger who means no good, in a process of its own: floods a broker with upgrades or hellos as
 * fast as it is answered, or listens to everything and reads nothing. Does what it is told, and
 * answers with how often it was let in and how often it was not since it began.
 */
import { setPriority } from 'node:os'
import { subprotocol } from '@holdfast/shared'
import { openWire, type Wire } from '../load/wire.js'

export type Flood = 'upgrades' | 'hellos' | 'slow readers'

export interface FloodOrder {
  readonly url: string
  /** Undefined to stop. */
  readonly flood: Flood | undefined
}

export interface Flooded {
  readonly letIn: number
  readonly refused: number
}

/** How many connections it has under way at a time. */
const abreast = 32
/** Watches of a slow reader: what everybody does is told to it so many times. */
const watches = 20

const open = new Set<Wire>()
let flood: Flood | undefined
let counts = { letIn: 0, refused: 0 }
let lanes: Promise<unknown> = Promise.resolve()

/** Says it and waits for the first answer, or for the end. */
function ask(wire: Wire, message: string): Promise<void> {
  return new Promise((resolve) => {
    wire.listen({ onText: () => resolve(), onTurn: () => {}, onClose: resolve })
    wire.send(message)
  })
}

const floods: Readonly<Record<Flood, (wire: Wire) => Promise<void>>> = {
  upgrades: async () => {},
  hellos: (wire) => ask(wire, `{"type":"hello","name":"${'x'.repeat(256)}","grace":"lease"}`),
  'slow readers': async (wire) => {
    await ask(wire, '{"type":"hello","name":"slow"}')
    const ended = new Promise<void>((resolve) => {
      wire.listen({ onText: () => {}, onTurn: () => {}, onClose: resolve })
    })
    wire.send(`[${Array.from({ length: watches }, (_, i) => `{"type":"watch","id":${i + 1}}`)}]`)
    wire.pause()
    await ended
  },
}

async function keepOn(url: string): Promise<void> {
  while (flood !== undefined) {
    const wire = await openWire(url, subprotocol).catch(() => undefined)
    if (wire === undefined) {
      counts.refused++
      continue
    }
    counts.letIn++
    open.add(wire)
    if (flood !== undefined) await floods[flood](wire)
    open.delete(wire)
    wire.destroy()
  }
}

process.on('disconnect', () => process.exit())
process.on('message', async (order: FloodOrder) => {
  flood = order.flood
  if (flood === undefined) {
    for (const wire of open) wire.destroy()
    await lanes
  } else {
    counts = { letIn: 0, refused: 0 }
    lanes = Promise.all(Array.from({ length: abreast }, () => keepOn(order.url)))
  }
  process.send?.(counts satisfies Flooded)
})
// What it takes of the processor is not what is measured.
setPriority(19)
