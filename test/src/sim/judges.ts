/**
 * The bench: everybody who listens in on a world and judges it, joined to what they listen to. One
 * trace and one verdict come out of it.
 */
import type { Command, Effect, LockTable } from '@holdfast/server/core'
import { closeCodes } from '@holdfast/shared'
import type { BrokerMachine } from './brokerMachine.js'
import { HolderJudge } from './holderJudge.js'
import type { Connection, NetworkObserver } from './network.js'
import type { Plan } from './plan.js'
import type { SimProcess } from './process.js'
import { SessionJudge } from './sessionJudge.js'
import { TableJudge } from './tableJudge.js'
import { Secrets } from './thief.js'
import { Trace } from './trace.js'
import { Verdict } from './verdict.js'
import type { World } from './world.js'

/** Events between two looks at who is silent: it is a slow thing to judge, and not a hasty one. */
const silenceEvery = 64

/** Time for a cancel to arrive, or a late grant to come and go, where nothing goes wrong, in ms. */
const calmMs = 1_000

export class Judges {
  readonly trace: Trace
  readonly verdict: Verdict
  readonly holders: HolderJudge
  readonly secrets = new Secrets()
  readonly #world: World
  readonly #tables: TableJudge
  readonly #sessions: SessionJudge
  /** In a world without faults: metadata of the requests that came to nothing, and when. */
  readonly #givenUp = new Map<string, number>()
  readonly #isCalm: boolean
  /** Set before the world begins. */
  machine: BrokerMachine | undefined

  constructor(world: World, plan: Plan, lines: number) {
    this.#world = world
    this.#isCalm = Object.values(plan.faults).every((weight) => weight === 0)
    this.trace = new Trace(world, lines)
    this.verdict = new Verdict(() => ({ time: world.now, event: world.events }))
    this.holders = new HolderJudge(this.verdict, () => world.now, plan.quietStart, plan.isBlind)
    this.#tables = new TableJudge(this.verdict)
    // A command comes back in some turn after its time in the log, and both turns may be late.
    const lagMs = plan.logMs === 0 ? 0 : plan.logMs + 2 * plan.busyMs
    this.#sessions = new SessionJudge(this.verdict, lagMs)
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

  brokerStarted(process: SimProcess): void {
    this.trace.add(process.name, 'starts')
    this.#tables.brokerStarted()
    this.#sessions.brokerStarted(process)
  }

  brokerEnded(): void {
    this.trace.add('broker', 'ends')
    this.secrets.clear()
    this.holders.brokerStopped()
  }

  afterEvent(): void {
    this.holders.judgeAll()
    const broker = this.machine?.broker
    if (broker !== undefined && this.#world.events % silenceEvery === 0) {
      this.#sessions.judgeSilence(broker.table)
      if (this.#isCalm) this.#judgeGivenUp(broker.table)
    }
  }

  /** A request for a lock came to nothing, its caller was told. */
  gaveUp(metadata: object): void {
    if (this.#isCalm) this.#givenUp.set(JSON.stringify(metadata), this.now)
  }

  /** What nobody wants any more is out of the table as soon as the network allows. */
  #judgeGivenUp(table: Omit<LockTable, 'apply'>): void {
    for (const { holders, queue } of table.keys.values()) {
      for (const { metadata } of [...holders, ...queue]) {
        const since = this.#givenUp.get(metadata ?? '') ?? this.now
        if (this.now - since > calmMs) this.broken('whoever gives up is out', `${metadata}`)
      }
    }
  }

  /** A table has applied a command. */
  applied(table: LockTable, command: Command, effects: readonly Effect[]): void {
    this.trace.add('table', describe(command, effects))
    this.#sessions.judge(command, effects, this.#isLeaving)
    for (const effect of effects) this.#hear(effect, command)
    this.#tables.judge(table, command, effects)
    this.secrets.follow(table, command, effects, this.verdict)
  }

  get network(): NetworkObserver {
    return {
      sent: (connection, direction, frame) => {
        this.trace.add(nameOf(connection), `${direction === 'up' ? '->' : '<-'} ${frame}`)
        const isWelcome = direction === 'down' && frame.includes('"type":"welcome"')
        if (isWelcome) this.#welcomed(connection, frame)
      },
      received: (connection) => this.#sessions.received(connection),
      closed: (connection, side, code) => {
        this.trace.add(nameOf(connection), `closed at ${side} ${code ?? ''}`)
        if (side === 'broker') this.#sessions.closedAtServer(connection)
        else this.verdict.count(`closed with ${code}`)
        // Nobody else takes a session up, so only a connection that its client has left is
        // replaced.
        if (code === closeCodes.replaced.code && connection.isNewest) {
          this.verdict.count('replaced by its own past')
        }
      },
    }
  }

  /** A broker that goes away takes its table along, like one that is stopped short. */
  get #isLeaving(): boolean {
    return this.machine?.isDraining === true
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
        const mayBelieve = this.#isLeaving || this.#sessions.mayStillBelieve(lock.session.id)
        this.holders.released(lock, reason, mayBelieve)
        verdict.count(`released: ${reason}`)
        break
      }
      case 'ended':
        this.#sessions.forget(effect.session.id)
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
      const { session, secret } = message
      // A welcome may leave on a connection that was replaced in the same turn.
      if (secret !== undefined && !this.secrets.isNewest(session, secret)) continue
      this.#sessions.welcomed(connection, session)
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
