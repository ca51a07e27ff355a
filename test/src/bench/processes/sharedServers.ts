/**
 * Starts an etcd cluster of three members or a PostgreSQL, and brokers that share a command log
 * there. (The command log orders the commands of the brokers.) Also starts "bare drivers", which
 * use the same storage without a broker. The operating system chooses the cores of these processes.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { EtcdCluster } from '../../support/etcd.js'
import { Postgres } from '../../support/postgres.js'
import { brokerScript, canPin, type Server, startServer } from './servers.js'

const pathOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const driverPrograms = { etcd: './bareLogDriver.js', postgres: './bareInsertDriver.js' }
/** The first words of a command line that may run on any core; empty if the bench pins nothing. */
const anyCore = canPin ? ['taskset', '-c', `0-${availableParallelism() - 1}`] : []
/** This machine, as the place of a member or of a database. */
const anyCorePlace = { host: '127.0.0.1', command: anyCore }

/**
 * Starts an etcd cluster of three members on this machine.
 *
 * @param flags Further flags of each member.
 */
export async function startCluster(flags: readonly string[] = []): Promise<EtcdCluster> {
  return EtcdCluster.start({ places: [anyCorePlace, anyCorePlace, anyCorePlace], flags })
}

/** Starts a PostgreSQL that flushes every commit to the disk, with a table for bare inserts. */
export async function startDatabase(): Promise<Postgres> {
  const server = await Postgres.start({ place: anyCorePlace, settings: ['fsync=on'] })
  await server.sql`create table bench (entry text)`
  return server
}

/**
 * Starts a broker with these flags of `serve`. Resolves when the broker listens.
 *
 * @param options.nodeFlags Flags of Node.
 * @param options.startMs How long the start may take, in ms.
 */
export function startBrokerWith(
  flags: readonly string[],
  { nodeFlags = [], startMs }: { nodeFlags?: readonly string[]; startMs?: number } = {},
): Promise<Server> {
  const serve = ['serve', '--port', '0', '--drain', '0', ...flags]
  const command = [...anyCore, process.execPath, ...nodeFlags, brokerScript, ...serve]
  const [program, ...args] = command
  return startServer([program!, args], { ready: /\bws:\/\/\S+/, url: undefined, startMs })
}

/** A process that writes directly to the storage of a log. */
export class BareDriver {
  readonly #process: ChildProcess

  private constructor(process: ChildProcess) {
    this.#process = process
  }

  /** @param args The arguments of the program. */
  static async start(
    storage: keyof typeof driverPrograms,
    args: readonly string[],
  ): Promise<BareDriver> {
    const child = fork(
      pathOf(driverPrograms[storage]),
      args,
      // Forks `taskset` in place of Node. `taskset` then starts Node, which may use any core.
      anyCore.length === 0
        ? {}
        : { execPath: 'taskset', execArgv: [...anyCore.slice(1), process.execPath] },
    )
    // The program reports that it is ready.
    await once(child, 'message')
    return new BareDriver(child)
  }

  /** Tells the process to start its load. */
  go(): void {
    this.#process.send('go')
  }

  /**
   * Ends the load. Resolves with the number of commands that the storage has confirmed since `go`.
   */
  async stop(): Promise<number> {
    const answer = once(this.#process, 'message')
    this.#process.send('stop')
    return (await answer)[0] as number
  }

  /** Ends the process, which exits when its channel to the bench closes. */
  end(): void {
    this.#process.disconnect()
  }
}
