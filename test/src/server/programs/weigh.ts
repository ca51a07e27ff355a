/**
 * The child of `memory.test.ts`, run with `--expose-gc`: fills a broker with one kind of thing at a
 * time, and prints what the broker counts for it and what it takes of the real heap.
 */
import { Bench, type Client } from '../bench.js'

/** How much of everything, 1 for all of it. */
const scale = Number(process.argv[2] ?? 1)
/** One in so many kinds is weighed. */
const every = Number(process.argv[3] ?? 1)

interface Weighed {
  readonly name: string
  readonly counted: number
  readonly real: number
}

/** What the heap holds once the collector finds nothing more, in bytes. */
function heap(): number {
  let last = Number.POSITIVE_INFINITY
  for (let round = 0; round < 12; round++) {
    ;(globalThis as { gc?: () => void }).gc!()
    const { heapUsed } = process.memoryUsage()
    if (round > 2 && Math.abs(heapUsed - last) < 2_048) return heapUsed
    last = heapUsed
  }
  return last
}

/** @param fill Makes things of one kind; the broker keeps them while they are weighed. */
function weigh(name: string, prepare: (bench: Bench) => () => unknown): Weighed {
  // A broker that has done all of it before has no first time to pay for.
  const warm = prepare(new Bench())
  warm()
  const bench = new Bench()
  const fill = prepare(bench)
  const [heapBefore, countedBefore] = [heap(), bench.broker.memory.usedBytes]
  fill()
  const real = heap() - heapBefore
  const counted = bench.broker.memory.usedBytes - countedBefore
  return { name, counted, real }
}

/** Says so many messages, and forgets what is answered. */
function sayAll(client: Client, count: number, message: (i: number) => object): void {
  for (let i = 0; i < count * scale; i++) {
    client.say(message(i))
    forget(client)
  }
}

/** What it was sent is the broker's memory no more. */
function forget(client: Client): void {
  client.socket.frames.length = 0
  client.heard()
}

/** As the broker gets them: texts of their own, and not parts of one another. */
function text(length: number, i: number, fill: string): string {
  return JSON.parse(JSON.stringify(`${i}:${fill.repeat(length)}`.slice(0, length))) as string
}

const holder = (bench: Bench): Client => bench.join({ grace: 'lease' })

const kinds: (readonly [string, (bench: Bench) => () => void])[] = [
  [
    'locks of short keys',
    (bench) => {
      const client = bench.join()
      return () => sayAll(client, 10_000, (i) => ({ type: 'lock', id: i + 1, key: `k${i}` }))
    },
  ],
  [
    'locks with a ttl, long keys and metadata',
    (bench) => {
      const client = bench.join()
      const message = (i: number) => ({
        ...{ type: 'lock', id: i + 1, ttl: 1_000_000 },
        ...{ key: text(170, i, '€'), metadata: text(1_300, i, '€') },
      })
      return () => sayAll(client, 2_000, message)
    },
  ],
  [
    'requests with a timeout',
    (bench) => {
      const client = bench.join()
      client.take('k')
      const message = (i: number) => ({ type: 'lock', id: i + 2, key: 'k', timeout: 1_000_000 })
      return () => sayAll(client, 9_000, message)
    },
  ],
  [
    'requests for keys of their own',
    (bench) => {
      const [client, other] = [bench.join(), bench.join()]
      sayAll(other, 5_000, (i) => ({ type: 'lock', id: i + 1, key: `k${i}` }))
      return () => sayAll(client, 5_000, (i) => ({ type: 'lock', id: i + 1, key: `k${i}` }))
    },
  ],
  [
    'stored refusals',
    (bench) => {
      const clients = Array.from({ length: 10 }, () => holder(bench))
      return () => {
        for (const client of clients) {
          sayAll(client, 1_000, (i) => ({ type: 'unlock', id: i + 1, fence: 1 }))
        }
      }
    },
  ],
  [
    'stored answers that name holders',
    (bench) => {
      const busy = bench.join()
      const clients = Array.from({ length: 10 }, () => holder(bench))
      return () => {
        for (const client of clients) {
          sayAll(client, 250, (i) => {
            // What the answer shows of the lock is its own once the lock is gone.
            const fence = busy.take('k', { metadata: text(900, i, '€') })
            client.say({ type: 'lock', id: i + 1, key: 'k', timeout: 0 })
            busy.unlock(fence)
            forget(busy)
            return { type: 'pong', n: 1 }
          })
        }
      }
    },
  ],
  [
    'stored grants of locks that are gone',
    (bench) => {
      const clients = Array.from({ length: 10 }, () => holder(bench))
      let fence = 0
      const message = (i: number) => {
        if (i % 2 === 1) return { type: 'unlock', id: i + 1, fence }
        fence++
        const [key, metadata] = [text(170, i, '€'), text(1_300, i, '€')]
        return { type: 'lock', id: i + 1, key, metadata }
      }
      return () => {
        for (const client of clients) sayAll(client, 1_000, message)
      }
    },
  ],
  [
    'sessions that are away',
    (bench) => () => {
      for (let i = 0; i < 3_000 * scale; i++) {
        const client = bench.join({ grace: 'lease', lease: 60_000, name: text(20, i, 'n') })
        forget(client)
        client.socket.drop()
      }
    },
  ],
  [
    'watches of keys',
    (bench) => {
      const clients = Array.from({ length: 5 }, () => bench.join())
      return () => {
        for (const [n, client] of clients.entries()) {
          sayAll(client, 1_000, (i) => ({ type: 'watch', id: i + 1, key: `${n}:${i}` }))
        }
      }
    },
  ],
  [
    'watches of long prefixes',
    (bench) => {
      const clients = Array.from({ length: 5 }, () => bench.join())
      return () => {
        for (const [n, client] of clients.entries()) {
          sayAll(client, 1_000, (i) => ({
            type: 'watch',
            id: i + 1,
            prefix: text(170, n * 1_000 + i, '€'),
          }))
        }
      }
    },
  ],
  [
    'events that are not read',
    (bench) => {
      const sloths = Array.from({ length: 5 }, () => bench.join())
      for (const sloth of sloths) {
        sloth.say({ type: 'watch', id: 1 })
        sloth.socket.bufferedBytes = 70_000
      }
      const busy = bench.join()
      // What is in the sockets is not real, and has been counted by now.
      busy.unlock(busy.take('k'))
      forget(busy)
      return () => {
        for (let i = 0; i < 200 * scale; i++) {
          busy.unlock(busy.take('k', { metadata: text(1_000, i, 'm') }))
          forget(busy)
        }
      }
    },
  ],
]
const chosen = kinds.filter((_, i) => i % every === 0)
console.log(JSON.stringify(chosen.map(([name, prepare]) => weigh(name, prepare))))
