/**
 * Creates all oracles of a world (a simulated run). An oracle observes the run and reports every
 * rule that the product breaks. The network, the lock tables, the command logs and the client
 * programs report to this class, which tells the oracles. All oracles write to one trace and one
 * report.
 */
import type { Command, Effect, Lock, LockTable, Session } from '@holdfast/server/core'
import { closeCodes } from '@holdfast/shared'
import { AnswerOracle } from './answerOracle.js'
import { BarrierOracle } from './barrierOracle.js'
import type { BrokerMachine } from './brokerMachine.js'
import type { Cluster } from './cluster.js'
import { ResumeSecrets } from './hijacker.js'
import { HolderOracle } from './holderOracle.js'
import { HoldOracle } from './holdOracle.js'
import { ModeOracle } from './modeOracle.js'
import type { Connection, NetworkObserver } from './network.js'
import { NoticeOracle } from './noticeOracle.js'
import type { LogObserver } from './observedLog.js'
import { OnceOracle } from './onceOracle.js'
import type { Plan } from './plan.js'
import { RunReport } from './runReport.js'
import { ScopeOracle } from './scopeOracle.js'
import { SessionOracle } from './sessionOracle.js'
import type { SharedPlan } from './sharedPlan.js'
import type { SimProcess } from './simProcess.js'
import { SnapshotOracle } from './snapshotOracle.js'
import { TableOracle } from './tableOracle.js'
import { Trace } from './trace.js'
import type { World } from './world.js'

/**
 * The deadlines are checked once in this many events, because the check is slow, and deadlines are
 * seconds long.
 */
const eventsPerCheck = 64

/**
 * How late a broker may be in a world without faults, in ms. The limit applies to notices, and to
 * the ends of holds and of kept values of `once`. The cancel of a failed request must also reach
 * the broker within this time.
 */
const maxLateMs = { oneBroker: 1_000, cluster: 3_000 }

/** One process of a broker, and the oracle of its sessions. */
interface BrokerRun {
  readonly process: SimProcess
  readonly sessionOracle: SessionOracle
  /** Whether the broker drains: it has told its clients to leave, because the broker will end. */
  isLeaving: boolean
}

export class Oracles {
  readonly trace: Trace
  readonly report: RunReport
  readonly holderOracle: HolderOracle
  readonly onceOracle: OnceOracle
  readonly secrets = new ResumeSecrets()
  readonly #world: World
  readonly #tableOracle: TableOracle
  readonly #barrierOracle: BarrierOracle
  readonly #holdOracle: HoldOracle
  readonly #modeOracle: ModeOracle
  readonly #scopeOracle: ScopeOracle
  readonly #noticeOracle: NoticeOracle
  readonly #answerOracle: AnswerOracle
  /** The newest process of each machine. */
  readonly #runs = new Map<BrokerMachine, BrokerRun>()
  /**
   * The runs by the present and former names of their brokers in the log. The name '' stands for
   * the newest run. Without a shared log, '' is the owner broker of every session; with a shared
   * log, of none.
   */
  readonly #runsByName = new Map<string, BrokerRun>()
  /**
   * The world time of the failure of each lock request that has failed, by the metadata of the
   * request. Stays empty in a world with faults.
   */
  readonly #failedRequests = new Map<string, number>()
  /** Whether the plan of the world has no faults. */
  readonly #isFaultless: boolean
  /** Set before the world begins. */
  cluster: Cluster | undefined

  constructor(world: World, plan: Plan, shared: SharedPlan | undefined, maxLines: number) {
    this.#world = world
    this.#isFaultless = Object.values(plan.faults).every((weight) => weight === 0)
    this.trace = new Trace(world, maxLines)
    this.report = new RunReport(() => ({ time: world.now, event: world.events }))
    const { report } = this
    const { quietStart, hasPassiveOracles } = plan
    // A broker that lags behind the log for longer than this is declared dead.
    const maxLogDelayMs = shared?.deadMs ?? 0
    const now = () => world.now
    this.holderOracle = new HolderOracle({
      report,
      now,
      quietStart,
      // A passive oracle reads `lock.held` only directly after the client has read its clock. At
      // other moments, this read would make the client notice a loss.
      isPassive: hasPassiveOracles,
      maxLogDelayMs,
    })
    this.onceOracle = new OnceOracle(report, now, plan.keptResults)
    this.#tableOracle = new TableOracle(report)
    this.#barrierOracle = new BarrierOracle(report)
    this.#holdOracle = new HoldOracle(report, now)
    this.#modeOracle = new ModeOracle(report)
    this.#scopeOracle = new ScopeOracle(report)
    this.#noticeOracle = new NoticeOracle(report, now, this.#isFaultless)
    this.#answerOracle = new AnswerOracle(report, now)
  }

  /** World time, in ms. */
  get now(): number {
    return this.#world.now
  }

  get hasViolation(): boolean {
    return this.report.violation !== undefined
  }

  /** Reports that the product breaks a rule. @param rule The rule, as a sentence. */
  violated(rule: string, detail: string): void {
    this.trace.add('oracle', `${rule}: ${detail}`)
    this.report.violated(rule, detail)
  }

  /** A broker's process has started. @returns the observer of its log */
  brokerStarted(machine: BrokerMachine, process: SimProcess): LogObserver {
    this.trace.add(process.name, 'starts')
    // A shared log keeps the table. A broker with a log of its own starts with an empty table.
    if (!this.#isShared) {
      this.#tableOracle.brokerStarted()
      this.#barrierOracle.brokerStarted()
      this.onceOracle.brokerStarted()
      this.#holdOracle.brokerStarted()
      this.#modeOracle.brokerStarted()
    }
    const sessionOracle = new SessionOracle(this.report, {
      process,
      // Getters, because both values change while the process runs.
      get ownerBroker() {
        return machine.ownerBroker
      },
      get table() {
        return machine.table
      },
    })
    const run = { process, sessionOracle, isLeaving: false }
    this.#runs.set(machine, run)
    this.#runsByName.set('', run)
    const snapshotOracle = new SnapshotOracle(this.report)
    return {
      proposed: (command) => sessionOracle.proposed(command, run.isLeaving),
      executed: (stateMachine) => snapshotOracle.afterCommand(stateMachine),
      beforeSnapshot: () => snapshotOracle.endSnapshot(),
      served: () => {
        this.#runsByName.set(machine.nameInLog, run)
        this.report.count('broker serves')
        this.trace.add(process.name, `serves as ${machine.nameInLog}`)
        sessionOracle.served()
      },
      restored: () => this.report.count('broker restored a snapshot'),
      resigned: () => {
        this.report.count('broker resigned')
        this.trace.add(process.name, 'resigns')
      },
      failed: (error) =>
        this.violated('a broker does not fail', `${process.name}: ${error.message}`),
    }
  }

  /** A broker has told its clients to leave. */
  brokerDrains(machine: BrokerMachine): void {
    this.#runs.get(machine)!.isLeaving = true
  }

  /** The process of a broker has ended, by itself or by a fault. */
  brokerEnded(machine: BrokerMachine): void {
    this.trace.add(machine.name, 'ends')
    if (this.#isShared) return
    this.secrets.clear()
    this.holderOracle.brokerStopped()
  }

  /** Checks the rules that must hold after every event of the world. */
  afterEvent(): void {
    this.holderOracle.checkAll()
    const table = this.cluster?.table
    if (table === undefined || this.#world.events % eventsPerCheck !== 0) return
    for (const { sessionOracle } of this.#runs.values()) sessionOracle.checkOverdue()
    if (!this.#isFaultless) return
    this.#checkFailedRequests(table)
    this.#holdOracle.checkOverdue(this.#maxLateMs)
    this.onceOracle.checkOverdue(this.#maxLateMs)
    this.#noticeOracle.checkOverdue(this.#maxLateMs)
  }

  /** A lock request has failed, and its caller has received the error. */
  requestFailed(metadata: object): void {
    if (this.#isFaultless) this.#failedRequests.set(JSON.stringify(metadata), this.now)
  }

  /**
   * Checks that a failed request leaves the table as soon as the network allows. While its session
   * is suspended, the client cannot send the cancel. So the time counts from the resume.
   */
  #checkFailedRequests(table: Omit<LockTable, 'apply'>): void {
    for (const { holders, queue } of table.keys.values()) {
      for (const { metadata, session } of [...holders, ...queue]) {
        // No failed request has the metadata ''.
        const metadataText = metadata ?? ''
        if (session.suspended && this.#failedRequests.has(metadataText))
          this.#failedRequests.set(metadataText, this.now)
        const since = this.#failedRequests.get(metadataText) ?? this.now
        if (this.now - since > this.#maxLateMs)
          this.violated('a failed request leaves the table', `${metadata}`)
      }
    }
  }

  /**
   * A broker or the log oracle has applied a command to its table. The log oracle applies the
   * commands of a shared log to a table of its own. A session oracle checks every command that its
   * own broker applies. The other oracles check a command once: when the log oracle applies it, or
   * without a shared log, when the only broker does.
   */
  applied(table: LockTable, command: Command, effects: readonly Effect[]): void {
    const { logOracle, machines } = this.cluster!
    const machine = logOracle === undefined ? machines[0]! : this.cluster!.machineOf(table)
    const run = machine && this.#runs.get(machine)
    if (run !== undefined) {
      run.sessionOracle.check(command, effects, run.isLeaving)
      logOracle?.applied(machine!, command)
    }
    if (logOracle === undefined || table === logOracle.table) {
      this.trace.add('table', describe(command, effects))
      for (const effect of effects) {
        logOracle?.hadEffect(effect)
        this.#onEffect(effect, command)
      }
      this.#tableOracle.check(table, command, effects)
      this.#barrierOracle.check(command, effects)
      this.onceOracle.check(command, effects)
      this.#holdOracle.check(effects)
      this.#modeOracle.check(command, effects)
      this.#scopeOracle.check(table, command, effects)
      this.#noticeOracle.check(effects)
      if (logOracle !== undefined) this.#answerOracle.appended(command)
      this.secrets.follow(table, command, effects, this.report)
    }
    // Comes last, because the oracles above may ask the session oracle about an ended session.
    for (const effect of effects)
      if (effect.kind === 'ended') run?.sessionOracle.forget(effect.session.id)
  }

  /**
   * Passes on to the oracles what the network sends and closes, and what it delivers to brokers.
   */
  get network(): NetworkObserver {
    return {
      sent: (connection, direction, frame) => {
        this.trace.add(nameOf(connection), `${direction === 'up' ? '->' : '<-'} ${frame}`)
        const isWelcome = direction === 'down' && frame.includes('"type":"welcome"')
        if (isWelcome) this.#welcomed(connection, frame)
        if (direction === 'down') this.#noticeOracle.sent(connection, frame)
        if (direction === 'down' && this.#isShared) this.#answerOracle.sent(connection, frame)
      },
      received: (connection, frame) => {
        this.#sessionOracleOf(connection)?.received(connection)
        const nameInLog = this.#machineOf(connection)?.nameInLog
        if (nameInLog !== undefined && nameInLog !== '')
          this.#answerOracle.received(connection, frame, nameInLog)
      },
      closed: (connection, side, code) => {
        this.trace.add(nameOf(connection), `closed at ${side} ${code ?? ''}`)
        if (side === 'broker') this.#sessionOracleOf(connection)?.closedAtBroker(connection)
        else this.report.count(`closed with ${code}`)
        // The broker may replace a connection only when the same client resumes its session on a
        // newer connection.
        if (code === closeCodes.replaced.code && connection.isNewest) {
          this.violated(
            'an older connection does not replace a newer connection',
            nameOf(connection),
          )
        }
      },
    }
  }

  get #isShared(): boolean {
    return this.cluster?.logOracle !== undefined
  }

  get #maxLateMs(): number {
    return this.#isShared ? maxLateMs.cluster : maxLateMs.oneBroker
  }

  #machineOf({ brokerProcess }: Connection): BrokerMachine | undefined {
    return this.cluster?.machines.find(({ process }) => process === brokerProcess)
  }

  /**
   * The session oracle of the broker process at the end of this connection, if that process still
   * runs.
   */
  #sessionOracleOf({ brokerProcess }: Connection): SessionOracle | undefined {
    for (const { process, sessionOracle } of this.#runs.values())
      if (process === brokerProcess) return sessionOracle
    return undefined
  }

  /**
   * Whether a client may still believe that it holds the locks of a session that has just ended.
   * The client may believe so if its connection dropped, or if its broker has drained and ended.
   */
  #mayStillBelieve(session: Session): boolean {
    const run = this.#runsByName.get(session.ownerBroker)
    return run !== undefined && (run.isLeaving || run.sessionOracle.mayStillBelieve(session))
  }

  #onEffect(effect: Effect, command: Command): void {
    const { report } = this
    switch (effect.kind) {
      case 'granted':
        report.count(effect.request === undefined ? 'granted immediately' : 'granted to a waiter')
        this.#countPermitsAndSets(effect.lock)
        this.holderOracle.granted(effect.lock, command.type === 'lock' && command.steal)
        break
      case 'upgraded':
        this.holderOracle.upgraded(effect.lock)
        break
      case 'downgraded':
        this.holderOracle.downgraded(effect.lock)
        break
      case 'released': {
        const { lock, reason } = effect
        this.holderOracle.released(lock, reason, this.#mayStillBelieve(lock.session))
        report.count(`released: ${reason}`)
        break
      }
      case 'suspended':
        if (command.type === 'restart') report.count('session taken over')
        break
      case 'withdrawn':
        report.count(`withdrawn: ${effect.reason}`)
        break
      case 'answer':
        if (effect.repeat) report.count('answer repeated')
        break
      case 'resumed':
        report.count('resume: resumed')
        this.holderOracle.sessionResumed(effect.session.id)
        break
      case 'refused':
        report.count('resume: refused')
        break
    }
  }

  #countPermitsAndSets({ mode, extras, isPrimary }: Lock): void {
    if (mode === 'permits') this.report.count('granted permits')
    if (isPrimary && (extras?.set?.locks.length ?? 0) > 1) this.report.count('granted set')
  }

  #welcomed(connection: Connection, frame: string): void {
    const parsed: unknown = JSON.parse(frame)
    for (const message of Array.isArray(parsed) ? parsed : [parsed]) {
      if (message.type !== 'welcome') continue
      this.#sessionOracleOf(connection)?.welcomed(connection, message.session, message.secret)
    }
  }
}

function nameOf({ clientProcess, number }: Connection): string {
  return `${clientProcess.name}/${number}`
}

function describe(command: Command, effects: readonly Effect[]): string {
  const { at: _, ...fields } = command
  return `${JSON.stringify(fields)} => ${effects.map(describeEffect).join(', ')}`
}

function describeEffect(effect: Effect): string {
  switch (effect.kind) {
    case 'granted':
      return `granted ${effect.lock.session.id}#${effect.lock.id} ${effect.lock.fence}`
    case 'upgraded':
    case 'downgraded':
      return `${effect.kind} ${effect.lock.fence} ${effect.lock.presentFence}`
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
