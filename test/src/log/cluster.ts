/**
 * Several brokers that share one command log in memory, on one fake clock. A test may also run only
 * the logs, without brokers. The command log orders all changes of the lock table, so each broker
 * has the same table.
 */
import type { SnapshotItem } from '@holdfast/server/core'
import {
  type BrokerOptions,
  ReplicatedLog,
  type ReplicatedOptions,
} from '@holdfast/server/internal'
import type { Hello, LockRequest } from '@holdfast/shared'
import { FakeEnvironment } from '../server/fakeEnvironment.js'
import { BrokerHarness, type Client } from '../server/harness.js'
import { RecordingTable } from './logSuite.js'
import { MemorySource, MemoryStore } from './memoryEngine.js'

/** Stands for the broker of a log, and records which methods the log calls, and when. */
export class RecordingStateMachine extends RecordingTable {
  readonly #environment: FakeEnvironment
  readonly log: ReplicatedLog
  readonly source: MemorySource
  /** The events are calls to `serve`, `resign` and `restore`, each with its time. */
  readonly events: { readonly name: string; readonly at: number }[] = []
  /**
   * What {@link digest} returns in place of a hash of the table. The default is the same at all
   * brokers, because a broker whose digest differs would stop.
   */
  digestValue = 'the same'

  constructor(environment: FakeEnvironment, log: ReplicatedLog, source: MemorySource) {
    super()
    this.#environment = environment
    this.log = log
    this.source = source
  }

  override serve(): void {
    this.#record('serve')
  }

  override resign(): void {
    this.#record('resign')
  }

  override *restore(items: Iterable<SnapshotItem>): Generator<undefined, void> {
    yield* super.restore(items)
    this.#record('restore')
  }

  override digest(): string {
    return this.digestValue
  }

  get brokerName(): string {
    return this.log.name
  }

  /** The names of the events. */
  get eventNames(): string[] {
    return this.events.map(({ name }) => name)
  }

  /**
   * The former and the new owner in each `restart`, a command that passes all sessions of the
   * former owner to the new owner. An empty `formerOwner` stands for all brokers.
   */
  get restarts(): [formerOwner: string, newOwner: string][] {
    return [...this.replayed, ...this.applied].flatMap((command): [string, string][] =>
      command.type === 'restart' ? [[command.formerOwner ?? '', command.ownerBroker]] : [],
    )
  }

  #record(name: string): void {
    this.events.push({ name, at: this.#environment.clock.monotonic() })
  }
}

/** A broker with clients, in a cluster. */
export class Member extends BrokerHarness {
  /** The errors that stopped the broker; empty while the broker runs. */
  readonly failures: readonly Error[]
  readonly log: ReplicatedLog
  readonly source: MemorySource

  constructor(
    options: BrokerOptions,
    log: ReplicatedLog,
    source: MemorySource,
    environment: FakeEnvironment,
  ) {
    const failures: Error[] = []
    super(options, { log, environment, onFailure: (error) => failures.push(error) })
    this.failures = failures
    this.log = log
    this.source = source
  }
}

export class Cluster {
  readonly environment = new FakeEnvironment()
  readonly store = new MemoryStore(this.environment)

  /** Makes a log that has not started. */
  newLog(options: ReplicatedOptions = {}): { log: ReplicatedLog; source: MemorySource } {
    const source = new MemorySource(this.store)
    return { source, log: new ReplicatedLog(source, options, this.environment) }
  }

  /** Starts a log, and returns its state machine when the log has called `serve`. */
  async startLog(options: ReplicatedOptions = {}): Promise<RecordingStateMachine> {
    const { log, source } = this.newLog(options)
    const stateMachine = this.newStateMachine(log, source)
    await this.runUntilSettled(log.start(stateMachine))
    return stateMachine
  }

  /** Makes a state machine that records which methods the log calls. */
  newStateMachine(log: ReplicatedLog, source: MemorySource): RecordingStateMachine {
    return new RecordingStateMachine(this.environment, log, source)
  }

  /** Starts a broker, and returns the broker when it serves. */
  async startBroker(
    options: BrokerOptions = {},
    logOptions: ReplicatedOptions = {},
  ): Promise<Member> {
    const { log, source } = this.newLog(logOptions)
    const member = new Member(options, log, source, this.environment)
    await this.runUntilSettled(member.broker.ready!)
    return member
  }

  /** Opens a session at this broker, and returns its client. */
  async connectClient(member: Member, hello: Partial<Hello> = {}): Promise<Client> {
    const socket = member.connectWithHello(hello)
    await this.settle()
    return member.clientOn(socket)
  }

  /** Sends messages of a client, and completes all their effects at every broker. */
  async send(client: Client, ...messages: readonly unknown[]): Promise<void> {
    client.say(...messages)
    await this.settle()
  }

  /**
   * Locks a free key. Returns the fence, which is the number of the grant.
   *
   * @param request The fields of the message `lock`: the id of the request, the key, and options.
   */
  async lock(client: Client, request: Omit<LockRequest, 'type'>): Promise<number> {
    await this.send(client, { type: 'lock', ...request })
    const granted = client.socket.takeMessagesOfType('granted').at(-1)
    if (granted?.id !== request.id) throw new Error(`The broker has not granted ${request.key}`)
    return granted.fence
  }

  /**
   * Lets time pass while these clients answer every ping. Rounds the time up to whole steps of
   * 100 ms.
   */
  async passTimeAnsweringPings(ms: number, ...clients: readonly Client[]): Promise<void> {
    const stepMs = 100
    for (let passed = 0; passed < ms; passed += stepMs) {
      await this.passTime(stepMs)
      for (const client of clients) {
        for (const { n } of client.socket.takeMessagesOfType('ping'))
          client.say({ type: 'pong', n })
      }
    }
  }

  /**
   * Runs 12 turns of the event loop, which are more than any chain of calls and answers needs. The
   * brokers can then do nothing more before time passes.
   */
  async settle(): Promise<void> {
    for (let i = 0; i < 12; i++) {
      this.environment.endTurn()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Lets time pass in steps, and completes the effects of each step. */
  async passTime(ms: number, stepMs = 50): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.environment.advance(Math.min(stepMs, ms - passed))
      await this.settle()
    }
  }

  /** Lets time pass until a promise is settled. */
  async runUntilSettled<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const settled = promise.finally(() => {
      isSettled = true
    })
    // Prevents an unhandled rejection, because the promise may reject before the caller awaits it.
    settled.catch(() => {})
    await this.settle()
    // 2,000 steps of 50 ms are 100 s.
    for (let i = 0; !isSettled && i < 2_000; i++) await this.passTime(50)
    if (!isSettled) throw new Error('The promise is not settled after 100 s of the fake clock')
    return settled
  }
}
