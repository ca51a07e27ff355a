/**
 * Starts an etcd cluster of three members, brokers that share a command log in this cluster, and
 * "bare drivers", which use the same kind of log without a broker. (The command log orders the
 * commands of the brokers.) The operating system chooses the cores of these processes.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { EtcdCluster } from '../../support/etcd.js'
import { brokerCommand, canPin, type Server, startServer } from './servers.js'

const driver = fileURLToPath(new URL('./bareLogDriver.js', import.meta.url))
const anyCore = canPin ? ['taskset', '-c', `0-${availableParallelism() - 1}`] : []

export async function startCluster(): Promise<EtcdCluster> {
  const member = { host: '127.0.0.1', command: anyCore }
  return EtcdCluster.start({ places: [member, member, member] })
}

/** Starts a broker with these flags of `serve`. */
export function startBrokerWith(flags: readonly string[]): Promise<Server> {
  const serve = ['serve', '--port', '0', '--drain', '0', ...flags]
  const [program, ...args] = [...anyCore, process.execPath, brokerCommand, ...serve]
  return startServer([program!, args], { ready: /\bws:\/\/\S+/, url: undefined })
}

/** A process that appends to the log and follows it without a broker. */
export class BareDriver {
  readonly #process: ChildProcess

  private constructor(process: ChildProcess) {
    this.#process = process
  }

  static async start(
    endpoints: readonly string[],
    name: string,
    inFlight: number,
  ): Promise<BareDriver> {
    const args = [endpoints.join(), name, String(inFlight)]
    const child = fork(
      driver,
      args,
      anyCore.length === 0
        ? {}
        : { execPath: 'taskset', execArgv: [...anyCore.slice(1), process.execPath] },
    )
    await once(child, 'message')
    return new BareDriver(child)
  }

  go(): void {
    this.#process.send('go')
  }

  /** Resolves with the number of commands that the log has delivered since `go`. */
  async stop(): Promise<number> {
    const answer = once(this.#process, 'message')
    this.#process.send('stop')
    return (await answer)[0] as number
  }

  end(): void {
    this.#process.disconnect()
  }
}
