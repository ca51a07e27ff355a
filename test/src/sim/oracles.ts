/**
 * The bench: everybody who listens in on a world and judges it, joined to what they listen to. One
 * trace and one verdict come out of it.
 */
import type { Command, Effect, LockTable, Session } from '@holdfast/server/core'
import { closeCodes } from '@holdfast/shared'
import { AnswerOracle } from './answerOracle.js'
import type { BrokerMachine } from './brokerMachine.js'
import type { Cluster } from './cluster.js'
import { Secrets } from './hijacker.js'
import { HolderOracle } from './holderOracle.js'
import type { Connection, NetworkObserver } from './network.js'
import type { Plan } from './plan.js'
import type { SimProcess } from './process.js'
import { SessionOracle } from './sessionOracle.js'
import type { SharedPlan } from './sharedPlan.js'
import { TableOracle } from './tableOracle.js'
import type { LogTap } from './tappedLog.js'
import { Trace } from './trace.js'
import { Verdict } from './verdict.js'
import type { World } from './world.js'

/** Events between two looks at who is silent: it is a slow thing to judge, and not a hasty one. */
const silenceEvery = 64

/** Time for a cancel to arrive, or a late grant to come and go, where nothing goes wrong, in ms. */
const calmMs = { alone: 1_000, shared: 3_000 }

/** One process of a broker, and who judges it. */
interface Life {
  readonly process: SimProcess
  readonly judge: SessionOracle
  /** It goes away, and everybody was told. */
  isLeaving: boolean
}

export class Oracles {
  readonly trace: Trace
  readonly verdict: Verdict
  readonly holders: HolderOracle
  readonly secrets = new Secrets()
  readonly #world: World
  readonly #tables: TableOracle
  readonly #promises: AnswerOracle
  /** The process that runs on each machine now, or was the last there. */
  readonly #lives = new Map<BrokerMachine, Life>()
  /** By the name that it has, or had, in the log. */
  readonly #homes = new Map<string, Life>()
  /** In a world without faults: metadata of the requests that came to nothing, and when. */
  readonly #givenUp = new Map<string, number>()
  readonly #isCalm: boolean
  /** Set before the world begins. */
  cluster: Cluster | undefined

  constructor(world: World, plan: Plan, shared: SharedPlan | undefined, lines: number) {
    this.#world = world
    this.#isCalm = Object.values(plan.faults).every((weight) => weight === 0)
    this.trace = new Trace(world, lines)
    this.verdict = new Verdict(() => ({ time: world.now, event: world.events }))
    const { verdict } = this
    const { quietStart, isBlind } = plan
    const unheardMs = shared?.deadMs ?? 0
    const now = () => world.now
    this.holders = new HolderOracle({ verdict, now, quietStart, isBlind, unheardMs })
    this.#tables = new TableOracle(this.verdict)
    this.#promises = new AnswerOracle(this.verdict, now)
  }

  /** World time. */
  get now(): number {
    return this.#world.now
  }

  get hasVerdict(): boolean {
    return this.verdict.violation !== undefined
  }

  broken(rule: string, detail: string): void {
    this.trace.add('judge', `${rule}: ${detail}`)
    this.verdict.broken(rule, detail)
  }

  /** Returns what listens in on the log of the process that has started. */
  brokerStarted(machine: BrokerMachine, process: SimProcess): LogTap {
    this.trace.add(process.name, 'starts')
    if (!this.#isShared) this.#tables.brokerStarted()
    const judge = new SessionOracle(this.verdict, {
      process,
      get home() {
        return machine.keeps
      },
      get table() {
        return machine.table
      },
    })
    const life = { process, judge, isLeaving: false }
    this.#lives.set(machine, life)
    this.#homes.set('', life)
    return {
      proposed: (command) => judge.proposed(command, life.isLeaving),
      served: () => {
        this.#homes.set(machine.home, life)
        this.verdict.count('broker serves')
        this.trace.add(process.name, `serves as ${machine.home}`)
        judge.served()
      },
      restored: () => this.verdict.count('broker takes up a snapshot'),
      resigned: () => {
        this.verdict.count('broker resigned')
        this.trace.add(process.name, 'resigns')
      },
      failed: (error) => this.broken('a broker goes on', `${process.name}: ${error.message}`),
    }
  }

  brokerDrains(machine: BrokerMachine): void {
    this.#lives.get(machine)!.isLeaving = true
  }

  brokerEnded(machine: BrokerMachine): void {
    this.trace.add(machine.name, 'ends')
    if (this.#isShared) return
    this.secrets.clear()
    this.holders.brokerStopped()
  }

  afterEvent(): void {
    this.holders.judgeAll()
    const truth = this.cluster?.truth
    if (truth === undefined || this.#world.events % silenceEvery !== 0) return
    for (const { judge } of this.#lives.values()) judge.judgeSilence()
    if (this.#isCalm) this.#judgeGivenUp(truth)
  }

  /** A request for a lock came to nothing, its caller was told. */
  gaveUp(metadata: object): void {
    if (this.#isCalm) this.#givenUp.set(JSON.stringify(metadata), this.now)
  }

  /**
   * What its caller gave up is out of the table as soon as the network allows. A session whose
   * connection the broker has cut keeps it for its lease, because its client cannot say so.
   */
  #judgeGivenUp(table: Omit<LockTable, 'apply'>): void {
    for (const { holders, queue } of table.keys.values()) {
      for (const { metadata, session } of [...holders, ...queue]) {
        if (session.suspended) continue
        const since = this.#givenUp.get(metadata ?? '') ?? this.now
        if (this.now - since > this.#calmMs) this.broken('whoever gives up is out', `${metadata}`)
      }
    }
  }

  /** A table has applied a command: the one that is true, or a broker's, which may be the same. */
  applied(table: LockTable, command: Command, effects: readonly Effect[]): void {
    const { book, machines } = this.cluster!
    const machine = book === undefined ? machines[0]! : this.cluster!.machineOf(table)
    const life = machine && this.#lives.get(machine)
    if (life !== undefined) {
      life.judge.judge(command, effects, life.isLeaving)
      book?.applied(command)
    }
    if (book === undefined || table === book.table) {
      this.trace.add('table', describe(command, effects))
      for (const effect of effects) {
        book?.did(effect)
        this.#hear(effect, command)
      }
      this.#tables.judge(table, command, effects)
      if (book !== undefined) this.#promises.entered(command)
      this.secrets.follow(table, command, effects, this.verdict)
    }
    for (const effect of effects) if (effect.kind === 'ended') life?.judge.forget(effect.session.id)
  }

  get network(): NetworkObserver {
    return {
      sent: (connection, direction, frame) => {
        this.trace.add(nameOf(connection), `${direction === 'up' ? '->' : '<-'} ${frame}`)
        const isWelcome = direction === 'down' && frame.includes('"type":"welcome"')
        if (isWelcome) this.#welcomed(connection, frame)
        if (direction === 'down' && this.#isShared) this.#promises.said(connection, frame)
      },
      received: (connection, frame) => {
        this.#judgeOf(connection)?.received(connection)
        const home = this.#machineOf(connection)?.home
        if (home !== undefined && home !== '') this.#promises.received(connection, frame, home)
      },
      closed: (connection, side, code) => {
        this.trace.add(nameOf(connection), `closed at ${side} ${code ?? ''}`)
        if (side === 'broker') this.#judgeOf(connection)?.closedAtServer(connection)
        else this.verdict.count(`closed with ${code}`)
        // Nobody else takes a session up, so only a connection that its client has left is
        // replaced.
        if (code === closeCodes.replaced.code && connection.isNewest) {
          this.broken('nobody is replaced by its own past', nameOf(connection))
        }
      },
    }
  }

  get #isShared(): boolean {
    return this.cluster?.book !== undefined
  }

  get #calmMs(): number {
    return this.#isShared ? calmMs.shared : calmMs.alone
  }

  #machineOf({ broker }: Connection): BrokerMachine | undefined {
    return this.cluster?.machines.find(({ process }) => process === broker)
  }

  /** Whoever judges the process that this connection is to, if that process still runs. */
  #judgeOf({ broker }: Connection): SessionOracle | undefined {
    for (const { process, judge } of this.#lives.values()) if (process === broker) return judge
    return undefined
  }

  /**
   * Whether a client may still believe in the locks of a session that has just ended: its
   * connection dropped, or a broker that goes away took its table along, like one that is stopped
   * short.
   */
  #mayStillBelieve(session: Session): boolean {
    const life = this.#homes.get(session.ownerBroker)
    return life !== undefined && (life.isLeaving || life.judge.mayStillBelieve(session))
  }

  #hear(effect: Effect, command: Command): void {
    const { verdict } = this
    switch (effect.kind) {
      case 'granted':
        verdict.count(effect.request === undefined ? 'granted at once' : 'handed over')
        this.holders.granted(effect.lock, command.type === 'lock' && command.steal)
        break
      case 'released': {
        const { lock, reason } = effect
        this.holders.released(lock, reason, this.#mayStillBelieve(lock.session))
        verdict.count(`released: ${reason}`)
        break
      }
      case 'suspended':
        if (command.type === 'restart') verdict.count('session taken over')
        break
      case 'withdrawn':
        verdict.count(`withdrawn: ${effect.reason}`)
        break
      case 'answer':
        if (effect.repeat) verdict.count('answer repeated')
        break
      case 'resumed':
        verdict.count('resume: resumed')
        this.holders.takenUp(effect.session.id)
        break
      case 'refused':
        verdict.count('resume: refused')
        break
    }
  }

  #welcomed(connection: Connection, frame: string): void {
    const parsed: unknown = JSON.parse(frame)
    for (const message of Array.isArray(parsed) ? parsed : [parsed]) {
      if (message.type !== 'welcome') continue
      this.#judgeOf(connection)?.welcomed(connection, message.session, message.secret)
    }
  }
}

function nameOf({ clientProcess, number }: Connection): string {
  return `${clientProcess.name}/${number}`
}

function describe(command: Command, effects: readonly Effect[]): string {
  const { at: _, ...rest } = command
  return `${JSON.stringify(rest)} => ${effects.map(describeEffect).join(', ')}`
}

function describeEffect(effect: Effect): string {
  switch (effect.kind) {
    case 'granted':
      return `granted ${effect.lock.session.id}#${effect.lock.id} ${effect.lock.fence}`
    case 'released':
      return `released ${effect.lock.fence} ${effect.reason}`
    case 'ended':
      return `ended ${effect.session.id} ${effect.reason}`
    case 'answer':
      return `answer ${effect.id} ${effect.answer.kind}${effect.repeat ? ' again' : ''}`
    default:
      return effect.kind
  }
}
