/**
 * A hostile client without an authentication token, in a process of its own. The client opens new
 * WebSocket connections, or sends hellos, as fast as the broker answers. Or the client is a slow
 * reader, which watches all keys and reads no events. The parent process starts and stops the
 * flood, and gets the numbers of accepted and refused connections.
 */
import { setPriority } from 'node:os'
import { subprotocol } from '@holdfast/shared'
import { openWire, type Wire } from '../load/wire.js'

export type Flood = 'connections' | 'hellos' | 'slow readers'

export interface FloodCommand {
  readonly url: string
  /** The flood to start; undefined stops the flood. */
  readonly flood: Flood | undefined
}

export interface FloodCounts {
  readonly accepted: number
  readonly refused: number
}

/** The number of loops that run at the same time. Each loop has one connection at a time. */
const loopCount = 32
/** The number of watches of a slow reader. Each watch reports every change. */
const watchCount = 20

/** The open connections, which the process drops when the flood stops. */
const openWires = new Set<Wire>()
let flood: Flood | undefined
let counts = { accepted: 0, refused: 0 }
/** Resolves when every `runLoop` of the flood has ended. */
let loops: Promise<unknown> = Promise.resolve()

/** Sends a message, and resolves at the first answer or when the connection closes. */
function request(wire: Wire, message: string): Promise<void> {
  return new Promise((resolve) => {
    wire.listen({ onText: () => resolve(), onTurn: () => {}, onClose: resolve })
    wire.send(message)
  })
}

/** What each flood does with an open connection. The caller then drops the connection. */
const floods: Readonly<Record<Flood, (wire: Wire) => Promise<void>>> = {
  connections: async () => {},
  // The name has the longest length that the broker allows. With a grace, the broker keeps the
  // session for some time after the connection closes.
  hellos: (wire) => request(wire, `{"type":"hello","name":"${'x'.repeat(256)}","grace":"lease"}`),
  'slow readers': async (wire) => {
    await request(wire, '{"type":"hello","name":"slow"}')
    const ended = new Promise<void>((resolve) => {
      wire.listen({ onText: () => {}, onTurn: () => {}, onClose: resolve })
    })
    wire.send(`[${Array.from({ length: watchCount }, (_, i) => `{"type":"watch","id":${i + 1}}`)}]`)
    wire.pause()
    await ended
  },
}

/** Opens one connection after the other while the flood lasts. */
async function runLoop(url: string): Promise<void> {
  while (flood !== undefined) {
    const wire = await openWire(url, subprotocol).catch(() => undefined)
    if (wire === undefined) {
      counts.refused++
      continue
    }
    counts.accepted++
    openWires.add(wire)
    // The flood may have stopped while the connection was being opened.
    if (flood !== undefined) await floods[flood](wire)
    openWires.delete(wire)
    wire.destroy()
  }
}

process.on('disconnect', () => process.exit())
process.on('message', async (command: FloodCommand) => {
  flood = command.flood
  if (flood === undefined) {
    for (const wire of openWires) wire.destroy()
    await loops
  } else {
    counts = { accepted: 0, refused: 0 }
    loops = Promise.all(Array.from({ length: loopCount }, () => runLoop(command.url)))
  }
  // At the start of a flood, the counts are 0, and the message only confirms the start.
  process.send?.(counts satisfies FloodCounts)
})
// The flood gets the lowest priority, so that the measured clients keep the processor.
setPriority(19)
