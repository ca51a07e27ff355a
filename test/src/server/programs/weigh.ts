/**
 * The child process of `memory.test.ts`. Needs `--expose-gc`. For each kind of data, the process
 * fills a broker with this data. The process prints the bytes that the broker's memory account
 * counts, and the bytes by which the heap grew. A fence is the number of a grant.
 */
import { BrokerHarness, type Client } from '../harness.js'

/** The factor for all amounts of data: 1 in a full run, less in a quick run. */
const scale = Number(process.argv[2] ?? 1)
/** The program measures the first kind of data and then each `stride`-th kind. */
const stride = Number(process.argv[3] ?? 1)

interface Measurement {
  readonly name: string
  /** The bytes that the memory account counts. */
  readonly counted: number
  /** The bytes by which the heap grew. */
  readonly heapBytes: number
}

/**
 * The used bytes of the heap after garbage collection. Collects several times, until the figure
 * changes by less than 2 KiB.
 */
function usedHeap(): number {
  let last = Number.POSITIVE_INFINITY
  for (let round = 0; round < 12; round++) {
    ;(globalThis as { gc?: () => void }).gc!()
    const { heapUsed } = process.memoryUsage()
    if (round > 2 && Math.abs(heapUsed - last) < 2_048) return heapUsed
    last = heapUsed
  }
  return last
}

/**
 * Measures one kind of data.
 *
 * @param prepare Sets up clients, and returns a function that makes the broker keep the data.
 */
function measure(name: string, prepare: (harness: BrokerHarness) => () => unknown): Measurement {
  // The first run is not measured, because code that runs for the first time needs memory itself.
  // `fillUnmeasured` keeps the first broker alive. Its collection would distort the figures.
  const fillUnmeasured = prepare(new BrokerHarness())
  fillUnmeasured()
  const harness = new BrokerHarness()
  const fill = prepare(harness)
  const [heapBefore, countedBefore] = [usedHeap(), harness.broker.memory.usedBytes]
  fill()
  const heapBytes = usedHeap() - heapBefore
  const counted = harness.broker.memory.usedBytes - countedBefore
  return { name, counted, heapBytes }
}

/** Sends `count * scale` messages of a client, and drops the answers. */
function sayAll(client: Client, count: number, message: (i: number) => object): void {
  for (let i = 0; i < count * scale; i++) {
    client.say(message(i))
    dropOutput(client)
  }
}

/** Drops the frames that a fake socket keeps, because they are not memory of the broker. */
function dropOutput(client: Client): void {
  client.socket.frames.length = 0
  // Resets the socket's count of the frames that the test has read.
  client.takeMessages()
}

/**
 * Makes a text that shares no memory with other texts, like a text from the network. `€` has 3
 * bytes. So 170 characters are almost the longest key (512 bytes), and 1,300 characters are almost
 * the longest metadata (4 KiB).
 */
function text(length: number, i: number, fill: string): string {
  return JSON.parse(JSON.stringify(`${i}:${fill.repeat(length)}`.slice(0, length))) as string
}

/** Opens a session that outlives its connection, so the broker stores the session's answers. */
const joinWithGrace = (harness: BrokerHarness): Client => harness.openSession({ grace: 'lease' })

/** Each kind of data, and how to fill a broker with it. */
const kinds: (readonly [string, (harness: BrokerHarness) => () => void])[] = [
  [
    'locks of short keys',
    (harness) => {
      const client = harness.openSession()
      return () => sayAll(client, 10_000, (i) => ({ type: 'lock', id: i + 1, key: `k${i}` }))
    },
  ],
  [
    'locks with a ttl, long keys and metadata',
    (harness) => {
      const client = harness.openSession()
      const message = (i: number) => ({
        type: 'lock',
        id: i + 1,
        ttl: 1_000_000,
        key: text(170, i, '€'),
        metadata: text(1_300, i, '€'),
      })
      return () => sayAll(client, 2_000, message)
    },
  ],
  [
    'requests with a timeout',
    (harness) => {
      const client = harness.openSession()
      client.acquire('k')
      const message = (i: number) => ({ type: 'lock', id: i + 2, key: 'k', timeout: 1_000_000 })
      return () => sayAll(client, 9_000, message)
    },
  ],
  [
    'requests that wait, each for its own key',
    (harness) => {
      const [client, other] = [harness.openSession(), harness.openSession()]
      sayAll(other, 5_000, (i) => ({ type: 'lock', id: i + 1, key: `k${i}` }))
      return () => sayAll(client, 5_000, (i) => ({ type: 'lock', id: i + 1, key: `k${i}` }))
    },
  ],
  [
    'stored refusals',
    (harness) => {
      const clients = Array.from({ length: 10 }, () => joinWithGrace(harness))
      return () => {
        for (const client of clients) {
          // No client has a lock, so the broker refuses each unlock.
          sayAll(client, 1_000, (i) => ({ type: 'unlock', id: i + 1, fence: 1 }))
        }
      }
    },
  ],
  [
    'stored answers with the metadata of holders',
    (harness) => {
      const busy = harness.openSession()
      const clients = Array.from({ length: 10 }, () => joinWithGrace(harness))
      return () => {
        for (const client of clients) {
          sayAll(client, 250, (i) => {
            // After the unlock, only the stored answer keeps the metadata.
            const fence = busy.acquire('k', { metadata: text(900, i, '€') })
            client.say({ type: 'lock', id: i + 1, key: 'k', timeout: 0 })
            busy.unlock(fence)
            dropOutput(busy)
            // `sayAll` needs a message, and the broker keeps no data for a pong.
            return { type: 'pong', n: 1 }
          })
        }
      }
    },
  ],
  [
    'stored grants of released locks',
    (harness) => {
      const clients = Array.from({ length: 10 }, () => joinWithGrace(harness))
      /** The fence of the newest lock: the fences of a `BrokerHarness` are 1, 2, ... */
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
    'disconnected sessions',
    (harness) => () => {
      for (let i = 0; i < 3_000 * scale; i++) {
        const client = harness.openSession({
          grace: 'lease',
          lease: 60_000,
          name: text(20, i, 'n'),
        })
        dropOutput(client)
        client.socket.drop()
      }
    },
  ],
  [
    'watches of keys',
    (harness) => {
      const clients = Array.from({ length: 5 }, () => harness.openSession())
      return () => {
        for (const [n, client] of clients.entries()) {
          sayAll(client, 1_000, (i) => ({ type: 'watch', id: i + 1, key: `${n}:${i}` }))
        }
      }
    },
  ],
  [
    'watches of long prefixes',
    (harness) => {
      const clients = Array.from({ length: 5 }, () => harness.openSession())
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
    (harness) => {
      const watchers = Array.from({ length: 5 }, () => harness.openSession())
      for (const watcher of watchers) {
        watcher.say({ type: 'watch', id: 1 })
        // The socket is full, so the events wait in the broker.
        watcher.socket.bufferedBytes = 70_000
      }
      const busy = harness.openSession()
      // The account counts `bufferedBytes` at the next event of a watcher. These bytes take no
      // heap, so the events of this lock make the account count them before the measurement.
      busy.unlock(busy.acquire('k'))
      dropOutput(busy)
      return () => {
        for (let i = 0; i < 200 * scale; i++) {
          busy.unlock(busy.acquire('k', { metadata: text(1_000, i, 'm') }))
          dropOutput(busy)
        }
      }
    },
  ],
]
const chosen = kinds.filter((_, i) => i % stride === 0)
console.log(JSON.stringify(chosen.map(([name, prepare]) => measure(name, prepare))))
