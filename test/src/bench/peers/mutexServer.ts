/**
 * The peer (another lock service) mutex-server. Its server, written in TypeScript, pushes the
 * grants of remote mutexes over WebSocket. Of all peers, it is the most similar to Holdfast.
 */
import type { HeldLock, LockClient } from '../load/clientPairs.js'
import type { LoadPackage, Peer } from './peer.js'

/**
 * The parts of the package `mutex-server` that this file uses. The bench needs no header and no
 * provider, and passes null for each.
 */
interface MutexServerPackage {
  readonly MutexServer: new () => {
    open(port: number, handler: (acceptor: Acceptor) => Promise<void>): Promise<void>
  }
  readonly MutexConnector: new (header: null, provider: null) => Connector
}

interface Acceptor {
  accept(provider: null): Promise<void>
}

interface Connector {
  connect(url: string): Promise<void>
  getMutex(key: string): Promise<RemoteMutex>
  close(): Promise<void>
}

interface RemoteMutex {
  lock(): Promise<void>
  unlock(): Promise<void>
}

async function connect(url: string, count: number, loadPackage: LoadPackage) {
  const { MutexConnector } = loadPackage('mutex-server') as MutexServerPackage
  const clients: LockClient[] = []
  for (let i = 0; i < count; i++) {
    const connector = new MutexConnector(null, null)
    await connector.connect(url)
    clients.push({ lock: lockOn(connector), close: () => connector.close() })
  }
  return clients
}

/** Makes the function `lock` of a client. Like a usual program, it opens a mutex only once. */
function lockOn(connector: Connector): LockClient['lock'] {
  const mutexes = new Map<string, Promise<RemoteMutex>>()
  return async (key): Promise<HeldLock> => {
    let opening = mutexes.get(key)
    if (opening === undefined) {
      opening = connector.getMutex(key)
      mutexes.set(key, opening)
    }
    const mutex = await opening
    await mutex.lock()
    return { fence: undefined, unlock: () => mutex.unlock() }
  }
}

export const mutexServer: Peer = {
  service: 'mutex-server',
  name: 'mutex-server',
  packages: ['mutex-server@0.3.2'],
  polls: false,
  server: {
    kind: 'script',
    listen: async (port, loadPackage) => {
      const { MutexServer } = loadPackage('mutex-server') as MutexServerPackage
      await new MutexServer().open(port, (acceptor) => acceptor.accept(null))
    },
    url: (port) => `ws://127.0.0.1:${port}`,
  },
  connect,
}
