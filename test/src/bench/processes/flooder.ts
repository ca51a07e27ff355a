/**
 * A hostile client without a token, in a process of its own. It floods a broker with upgrades or
 * hellos as fast as it gets answers, or watches everything and reads nothing. Its parent starts and
 * stops the flood, and gets the numbers of accepted and refused attempts.
 */
import { setPriority } from 'node:os'
import { subprotocol } from '@holdfast/shared'
import { openWire, type Wire } from '../load/wire.js'

export type Flood = 'upgrades' | 'hellos' | 'slow readers'

export interface FloodOrder {
  readonly url: string
  /** Undefined to stop the flood. */
  readonly flood: Flood | undefined
}

export interface Flooded {
  readonly accepted: number
  readonly refused: number
}

/** The number of connections under way at once. */
const connectionsAtOnce = 32
/** The number of watches of a slow reader; each of them reports every change. */
const watches = 20

const open = new Set<Wire>()
let flood: Flood | undefined
let counts = { accepted: 0, refused: 0 }
let loops: Promise<unknown> = Promise.resolve()

/** Sends a message and waits for the first answer, or for the close. */
function request(wire: Wire, message: string): Promise<void> {
  return new Promise((resolve) => {
    wire.listen({ onText: () => resolve(), onTurn: () => {}, onClose: resolve })
    wire.send(message)
  })
}

const floods: Readonly<Record<Flood, (wire: Wire) => Promise<void>>> = {
  upgrades: async () => {},
  hellos: (wire) => request(wire, `{"type":"hello","name":"${'x'.repeat(256)}","grace":"lease"}`),
  'slow readers': async (wire) => {
    await request(wire, '{"type":"hello","name":"slow"}')
    const ended = new Promise<void>((resolve) => {
      wire.listen({ onText: () => {}, onTurn: () => {}, onClose: resolve })
    })
    wire.send(`[${Array.from({ length: watches }, (_, i) => `{"type":"watch","id":${i + 1}}`)}]`)
    wire.pause()
    await ended
  },
}

async function runConnection(url: string): Promise<void> {
  while (flood !== undefined) {
    const wire = await openWire(url, subprotocol).catch(() => undefined)
    if (wire === undefined) {
      counts.refused++
      continue
    }
    counts.accepted++
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
    await loops
  } else {
    counts = { accepted: 0, refused: 0 }
    loops = Promise.all(Array.from({ length: connectionsAtOnce }, () => runConnection(order.url)))
  }
  process.send?.(counts satisfies Flooded)
})
// Lowest priority, because the flood's use of the processor is not what is measured.
setPriority(19)
