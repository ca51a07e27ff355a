/**
 * The peer etcd: locks of the package `etcd3`, each with a lease of etcd. The package cannot wait
 * for a held key, so this client polls. (The fence of a lock is undefined, because the package has
 * none.)
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { HeldLock, LockClient } from '../load/clientPairs.js'
import type { Peer } from './peer.js'

interface Etcd3Package {
  readonly Etcd3: new (
    options: object,
  ) => {
    lock(key: string): Lock
    close(): void
  }
  readonly EtcdLockFailedError: new () => Error
}

interface Lock {
  acquire(): Promise<unknown>
  release(): Promise<void>
}

/** The mean time between two polls. */
const pollMs = 10

async function connect(url: string, count: number, load: (name: string) => unknown) {
  const { Etcd3, EtcdLockFailedError } = load('etcd3') as Etcd3Package
  return Array.from({ length: count }, (): LockClient => {
    const client = new Etcd3({ hosts: url })
    const lock = async (key: string): Promise<HeldLock> => {
      for (;;) {
        const etcdLock = client.lock(key)
        try {
          await etcdLock.acquire()
          return { fence: undefined, unlock: () => etcdLock.release() }
        } catch (error) {
          if (!(error instanceof EtcdLockFailedError)) throw error
          await sleep(pollMs * (0.5 + Math.random()))
        }
      }
    }
    return { lock, close: async () => client.close() }
  })
}

export const etcd: Peer = {
  name: 'etcd',
  packages: ['etcd3@1.1.2'],
  polls: true,
  server: {
    kind: 'program',
    program: 'etcd',
    debianPackage: 'etcd-server',
    args: (port, folder) => {
      const clients = `http://127.0.0.1:${port}`
      return [
        ...['--data-dir', folder, '--listen-client-urls', clients],
        ...['--advertise-client-urls', clients, '--listen-peer-urls', 'http://127.0.0.1:0'],
        ...['--log-level', 'info'],
      ]
    },
    ready: /ready to serve client requests/,
    url: (port) => `http://127.0.0.1:${port}`,
  },
  connect,
}
