/**
 * The peer etcd, through the package `etcd3`. The package cannot wait for a held key, so its
 * clients poll. The locks of the package have no fence (number of the grant).
 *
 * The peer has two configurations. The first uses the locks of the package, and each lock makes a
 * lease of etcd. The second uses one transaction for each lock, and one lease for all locks of a
 * client.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { HeldLock, LockClient } from '../load/clientPairs.js'
import type { LoadPackage, Peer, ProgramServer } from './peer.js'

/** The parts of the package `etcd3` that this file uses. */
interface Etcd3Package {
  readonly Etcd3: new (
    options: object,
  ) => {
    lock(key: string): Lock
    lease(ttlSeconds: number): Lease
    if(key: string, field: 'Create', comparison: '==', value: number): Transaction
    put(key: string): Put
    delete(): { key(key: string): Deletion }
    close(): void
  }
  readonly EtcdLockFailedError: new () => Error
}

interface Lease {
  grant(): Promise<string>
  release(): void
}

interface Put {
  value(text: string): { lease(id: string): object }
}

interface Deletion {
  exec(): Promise<unknown>
}

/** The package names a method `then`, but a transaction is no promise. */
interface Transaction {
  then(...operations: object[]): { commit(): Promise<{ readonly succeeded: boolean }> }
}

interface Lock {
  acquire(): Promise<unknown>
  release(): Promise<void>
}

/** The mean time between two polls, in ms. */
const pollMs = 10
/** The ttl of the lease of a client. The package renews the lease. */
const leaseSeconds = 60

/** Resolves after a random time, so that the clients do not poll at the same time. */
function pollDelay(): Promise<void> {
  return sleep(pollMs * (0.5 + Math.random()))
}

/** Connects clients that use the locks of the package. */
async function connectWithLocks(url: string, count: number, loadPackage: LoadPackage) {
  const { Etcd3, EtcdLockFailedError } = loadPackage('etcd3') as Etcd3Package
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
          await pollDelay()
        }
      }
    }
    return { lock, close: async () => client.close() }
  })
}

/** Connects clients that lock by a transaction, with one lease for all locks of a client. */
async function connectWithOneLease(url: string, count: number, loadPackage: LoadPackage) {
  const { Etcd3 } = loadPackage('etcd3') as Etcd3Package
  const clients: LockClient[] = []
  for (let i = 0; i < count; i++) {
    const client = new Etcd3({ hosts: url })
    const lease = client.lease(leaseSeconds)
    const leaseId = await lease.grant()
    const lock = async (key: string): Promise<HeldLock> => {
      const put = client.put(key).value('').lease(leaseId)
      // A key that does not exist has the create revision 0.
      while (!(await client.if(key, 'Create', '==', 0).then(put).commit()).succeeded) {
        await pollDelay()
      }
      const unlock = async (): Promise<void> => void (await client.delete().key(key).exec())
      return { fence: undefined, unlock }
    }
    const close = async (): Promise<void> => {
      lease.release()
      client.close()
    }
    clients.push({ lock, close })
  }
  return clients
}

const server: ProgramServer = {
  kind: 'program',
  program: 'etcd',
  debianPackage: 'etcd-server',
  args: (port, folder) => {
    const clientUrl = `http://127.0.0.1:${port}`
    return [
      ...['--data-dir', folder, '--listen-client-urls', clientUrl],
      ...['--advertise-client-urls', clientUrl, '--listen-peer-urls', 'http://127.0.0.1:0'],
      ...['--log-level', 'info'],
    ]
  },
  ready: /ready to serve client requests/,
  url: (port) => `http://127.0.0.1:${port}`,
}

const common = { service: 'etcd', packages: ['etcd3@1.1.2'], polls: true, server }

export const etcdPeers: readonly Peer[] = [
  { ...common, name: 'etcd', connect: connectWithLocks },
  { ...common, name: 'etcd, one lease', connect: connectWithOneLease },
]
