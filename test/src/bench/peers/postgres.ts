/**
 * The peer PostgreSQL: session-level advisory locks. These locks are fair and end with their
 * connection, but every waiting client needs a process of the server.
 */
import { createHash } from 'node:crypto'
import type { LockClient } from '../load/clientPairs.js'
import type { Peer } from './peer.js'

interface PgPackage {
  readonly Client: new (options: object) => Client
}

interface Client {
  connect(): Promise<void>
  query(query: { name: string; text: string; values: string[] }): Promise<unknown>
  end(): Promise<void>
}

/** Maps a key to a number, because advisory locks have numbers. */
function numberOf(key: string): string {
  return createHash('sha1').update(key).digest().readBigInt64BE().toString()
}

async function connect(url: string, count: number, load: (name: string) => unknown) {
  const { Client } = load('pg') as PgPackage
  const clients: LockClient[] = []
  for (let i = 0; i < count; i++) {
    const client = new Client({ connectionString: url })
    await client.connect()
    clients.push({
      lock: async (key) => {
        const values = [numberOf(key)]
        await client.query({ name: 'l', text: 'select pg_advisory_lock($1)', values })
        const unlock = async (): Promise<void> =>
          void (await client.query({ name: 'u', text: 'select pg_advisory_unlock($1)', values }))
        return { fence: undefined, unlock }
      },
      close: () => client.end(),
    })
  }
  return clients
}

export const postgres: Peer = {
  name: 'postgresql',
  packages: ['pg@8.23.1'],
  polls: false,
  server: {
    kind: 'program',
    program: 'postgres',
    folders: ['17', '16', '15', '14'].map((version) => `/usr/lib/postgresql/${version}/bin`),
    debianPackage: 'postgresql',
    prepare: (folder, run) => {
      run('initdb', ['-D', folder, '--auth=trust', '--username=bench', '--no-sync'])
    },
    args: (port, folder) => [
      ...['-D', folder, '-p', String(port), '-c', 'listen_addresses=127.0.0.1'],
      ...['-c', `unix_socket_directories=${folder}`, '-c', 'max_connections=1100'],
      ...['-c', 'fsync=off', '-c', 'max_locks_per_transaction=128'],
    ],
    ready: /ready to accept connections/,
    user: 'postgres',
    url: (port) => `postgres://bench@127.0.0.1:${port}/postgres`,
  },
  connect,
}
