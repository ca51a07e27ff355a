/**
 * Several brokers, or just their logs, that share one log in memory, on one fake machine: a test
 * lets time pass and looks what each of them has become.
 */
import type { SnapshotItem } from '@holdfast/server/core'
import {
  type BrokerOptions,
  ReplicatedLog,
  type ReplicatedOptions,
} from '@holdfast/server/internal'
import type { Hello } from '@holdfast/shared'
import { Bench, type Client } from '../server/bench.js'
import { FakeEnvironment } from '../server/fakeEnvironment.js'
import { Listener } from './logSuite.js'
import { MemorySource, MemoryStore } from './memoryEngine.js'

/** A replica that tells what happens to it, and when. */
export class Diary extends Listener {
  readonly #machine: FakeEnvironment
  readonly log: ReplicatedLog
  readonly source: MemorySource
  /** `serve`, `resign`, `restore`, with the time. */
  readonly events: { readonly what: string; readonly at: number }[] = []
  digestIs = 'the same'

  constructor(machine: FakeEnvironment, log: ReplicatedLog, source: MemorySource) {
    super()
    this.#machine = machine
    this.log = log
    this.source = source
  }

  override serve(): void {
    this.#note('serve')
  }

  override resign(): void {
    this.#note('resign')
  }

  override restore(items: Iterable<SnapshotItem>): void {
    super.restore(items)
    this.#note('restore')
  }

  override digest(): string {
    return this.digestIs
  }

  get home(): string {
    return this.log.name
  }

  /** What happened, without the times. */
  get story(): string[] {
    return this.events.map(({ what }) => what)
  }

  /** Who took over from whom, as far as this one has heard. */
  get restarts(): [from: string, home: string][] {
    return [...this.replayed, ...this.applied].flatMap((one): [string, string][] =>
      one.type === 'restart' ? [[one.formerOwner ?? '', one.ownerBroker]] : [],
    )
  }

  #note(what: string): void {
    this.events.push({ what, at: this.#machine.clock.monotonic() })
  }
}

/** A broker with clients, in a cluster. */
export class Member extends Bench {
  /** Why it cannot go on, if it cannot. */
  readonly failures: readonly Error[]
  readonly log: ReplicatedLog
  readonly source: MemorySource

  constructor(
    options: BrokerOptions,
    log: ReplicatedLog,
    source: MemorySource,
    machine: FakeEnvironment,
  ) {
    const failures: Error[] = []
    super(options, log, { onFailure: (error) => failures.push(error) }, machine)
    this.failures = failures
    this.log = log
    this.source = source
  }
}

export class Cluster {
  readonly machine = new FakeEnvironment()
  readonly store = new MemoryStore(this.machine)

  /** A log that has not begun. */
  newLog(options: ReplicatedOptions = {}): { log: ReplicatedLog; source: MemorySource } {
    const source = new MemorySource(this.store)
    return { source, log: new ReplicatedLog(source, options, this.machine) }
  }

  /** A log that serves. */
  async join(options: ReplicatedOptions = {}): Promise<Diary> {
    const { log, source } = this.newLog(options)
    const diary = this.diary(log, source)
    await this.until(log.start(diary))
    return diary
  }

  diary(log: ReplicatedLog, source: MemorySource): Diary {
    return new Diary(this.machine, log, source)
  }

  /** A broker that serves. */
  async broker(options: BrokerOptions = {}, logOptions: ReplicatedOptions = {}): Promise<Member> {
    const { log, source } = this.newLog(logOptions)
    const member = new Member(options, log, source, this.machine)
    await this.until(member.broker.ready!)
    return member
  }

  /** A client with a session at this broker. */
  async client(at: Member, hello: Partial<Hello> = {}): Promise<Client> {
    const socket = at.greet(hello)
    await this.settle()
    return at.clientOn(socket)
  }

  /** A client says this, and everything that comes of it at every broker happens. */
  async say(client: Client, ...messages: readonly unknown[]): Promise<void> {
    client.say(...messages)
    await this.settle()
  }

  /** Takes a lock that is free, as request `id`; returns its fence. */
  async take(client: Client, id: number, key: string, terms: object = {}): Promise<number> {
    await this.say(client, { type: 'lock', id, key, ...terms })
    const granted = client.socket.heardOf('granted').at(-1)
    if (granted?.id !== id) throw new Error('it was not granted')
    return granted.fence
  }

  /** Lets time pass while these clients answer every ping. */
  async passAlive(ms: number, ...clients: readonly Client[]): Promise<void> {
    for (let passed = 0; passed < ms; passed += 100) {
      await this.pass(100)
      for (const client of clients) {
        for (const { n } of client.socket.heardOf('ping')) client.say({ type: 'pong', n })
      }
    }
  }

  /** Everything that takes no time happens. */
  async settle(): Promise<void> {
    for (let i = 0; i < 12; i++) {
      this.machine.endTurn()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Time passes, and everything that it brings happens in its time. */
  async pass(ms: number, stepMs = 50): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.machine.pass(Math.min(stepMs, ms - passed))
      await this.settle()
    }
  }

  /** Lets time pass until this is settled. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const settled = promise.finally(() => {
      isSettled = true
    })
    settled.catch(() => {})
    await this.settle()
    for (let i = 0; !isSettled && i < 2_000; i++) await this.pass(50)
    if (!isSettled) throw new Error('it never comes to its end')
    return settled
  }
}
