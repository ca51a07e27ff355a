/**
 * The peer (another lock service) live-mutex: a broker in Node that pushes grants over TCP. Its
 * design is like that of Holdfast, but not safe: it unlocks every key when any client disconnects.
 */
import type { LockClient } from '../load/clientPairs.js'
import type { LoadPackage, Peer } from './peer.js'

/** The parts of the package `live-mutex` that this file uses. */
interface LiveMutex {
  readonly Broker: new (options: object) => { ensure(): Promise<unknown> }
  readonly Client: new (options: object) => Client
}

interface Client {
  ensure(): Promise<unknown>
  acquire(key: string): Promise<{ readonly id: string }>
  release(key: string, options: { readonly id: string }): Promise<unknown>
  close(): void
}

/** In ms: longer than a run, so that no lock expires and no request times out. */
const longMs = 600_000
const longLimits = { ttl: longMs, lockRequestTimeout: longMs, unlockRequestTimeout: longMs }

async function connect(url: string, count: number, loadPackage: LoadPackage) {
  const { Client } = loadPackage('live-mutex') as LiveMutex
  const { hostname: host, port } = new URL(url)
  const clients: LockClient[] = []
  for (let i = 0; i < count; i++) {
    const client = new Client({ host, port: Number(port), noDelay: true, ...longLimits })
    await client.ensure()
    clients.push({
      lock: async (key) => {
        const { id } = await client.acquire(key)
        const unlock = async (): Promise<void> => void (await client.release(key, { id }))
        return { fence: undefined, unlock }
      },
      close: async () => client.close(),
    })
  }
  return clients
}

export const liveMutex: Peer = {
  service: 'live-mutex',
  name: 'live-mutex',
  packages: ['live-mutex@0.2.25'],
  polls: false,
  server: {
    kind: 'script',
    listen: async (port, loadPackage) => {
      const { Broker } = loadPackage('live-mutex') as LiveMutex
      const options = { host: '127.0.0.1', port, noDelay: true, lockExpiresAfter: longMs }
      await new Broker(options).ensure()
    },
    url: (port) => `tcp://127.0.0.1:${port}`,
  },
  connect,
}
