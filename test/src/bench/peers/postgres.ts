/**
 * PostgreSQL as a peer (another lock service): session-level advisory locks. These locks are fair
 * and end with their connection, but every waiting client needs a process of the server.
 *
 * All configurations use prepared statements. The package `pg` sends one query at a time on a
 * connection. The package `postgres` pipelines its queries: it sends a query before the previous
 * query is answered. In one configuration the clients share few connections, so that fewer
 * processes compete for the CPU core of the server. Sharing works only while no client waits for a
 * lock, because a waiting query blocks its connection.
 */
import { createHash } from 'node:crypto'
import type { LockClient } from '../load/clientPairs.js'
import type { LoadPackage, Peer, ProgramServer } from './peer.js'
import { manySessionShapes, uncontendedShapes } from './shapes.js'

/** The number of connections that all clients share in the configuration for shared connections. */
const fewConnections = 8

/** The parts of the package `pg` that this file uses. */
interface PgPackage {
  readonly Client: new (options: object) => PgClient
}

interface PgClient {
  connect(): Promise<void>
  query(query: { name: string; text: string; values: string[] }): Promise<unknown>
  end(): Promise<void>
}

/** The function that the package `postgres` exports. */
type OpenPostgres = (url: string, options: object) => PostgresSql

interface PostgresSql {
  (strings: TemplateStringsArray, ...values: string[]): Promise<unknown>
  end(): Promise<void>
}

/** The number of the advisory lock for a key, as text. Advisory locks have numbers, not names. */
function lockNumberOf(key: string): string {
  return createHash('sha1').update(key).digest().readBigInt64BE().toString()
}

/** Connects clients that each have one connection of the package `pg`. */
async function connectWithPg(
  url: string,
  count: number,
  loadPackage: LoadPackage,
): Promise<LockClient[]> {
  const { Client } = loadPackage('pg') as PgPackage
  const clients: LockClient[] = []
  for (let i = 0; i < count; i++) {
    const client = new Client({ connectionString: url })
    await client.connect()
    clients.push({
      lock: async (key) => {
        const values = [lockNumberOf(key)]
        // The name makes the query a prepared statement.
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

/**
 * Makes the function `connect` of a peer that uses the package `postgres`.
 *
 * @param connectionCount How many connections the clients share. Default: one for each client.
 */
function connectPipelined(connectionCount?: number): Peer['connect'] {
  return async (url, count, loadPackage) => {
    const open = loadPackage('postgres') as OpenPostgres
    const connections: PostgresSql[] = []
    for (let i = 0; i < Math.min(connectionCount ?? count, count); i++) {
      // One connection, which the package never replaces. Without `fetch_types: false`, the package
      // would first query the types of the database.
      const sql = open(url, { max: 1, max_lifetime: null, fetch_types: false })
      // The package connects at the first query.
      await sql`select 1`
      connections.push(sql)
    }
    return Array.from({ length: count }, (_, i): LockClient => {
      const sql = connections[i % connections.length]!
      return {
        lock: async (key) => {
          const value = lockNumberOf(key)
          await sql`select pg_advisory_lock(${value})`
          const unlock = async (): Promise<void> =>
            void (await sql`select pg_advisory_unlock(${value})`)
          return { fence: undefined, unlock }
        },
        close: () => sql.end(),
      }
    })
  }
}

const server: ProgramServer = {
  kind: 'program',
  program: 'postgres',
  folders: ['17', '16', '15', '14'].map((version) => `/usr/lib/postgresql/${version}/bin`),
  debianPackage: 'postgresql',
  prepare: (folder, runProgram) => {
    runProgram('initdb', ['-D', folder, '--auth=trust', '--username=bench', '--no-sync'])
  },
  // The largest load has 1,000 clients, each with a connection and a lock. Advisory locks need no
  // disk, so `fsync` is off.
  args: (port, folder) => [
    ...['-D', folder, '-p', String(port), '-c', 'listen_addresses=127.0.0.1'],
    ...['-c', `unix_socket_directories=${folder}`, '-c', 'max_connections=1100'],
    ...['-c', 'fsync=off', '-c', 'max_locks_per_transaction=128'],
  ],
  ready: /ready to accept connections/,
  user: 'postgres',
  url: (port) => `postgres://bench@127.0.0.1:${port}/postgres`,
}

/** What the pipelined configurations have in common. */
const pipelined = { packages: ['postgres@3.4.9'], server, polls: false }

export const postgresPeers: readonly Peer[] = [
  {
    service: 'postgresql',
    name: 'postgresql, pg',
    packages: ['pg@8.23.1'],
    polls: false,
    server,
    connect: connectWithPg,
  },
  {
    ...pipelined,
    service: 'postgresql',
    name: 'postgresql, pipelined',
    // On a hot key, a connection never has two queries at a time, so pipelining changes nothing.
    shapes: uncontendedShapes,
    connect: connectPipelined(),
  },
  {
    ...pipelined,
    service: 'postgresql',
    name: `postgresql, pipelined, ${fewConnections} connections`,
    shapes: manySessionShapes,
    connect: connectPipelined(fewConnections),
  },
]
