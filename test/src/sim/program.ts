/**
 * What one client does with its day: it connects, asks for locks in every way there is, holds them,
 * refreshes and returns them, gives up, aborts, closes and comes back. Everything that it gets and
 * fails to get is held against what was promised to its caller.
 */
import type { Lock, Session } from '@holdfast/client'
import { type ErrorCode, safeDuration } from '@holdfast/shared'
import { Claims, timeoutRoomMs, type Want } from './claims.js'
import type { Holding } from './holderOracle.js'
import type { Oracles } from './oracles.js'
import { Pictures } from './picture.js'
import type { Action, ClientPlan, Plan } from './plan.js'
import type { SimProcess } from './process.js'
import type { Random } from './random.js'

export interface ProgramDeps {
  readonly process: SimProcess
  readonly random: Random
  readonly plan: Plan
  readonly client: ClientPlan
  readonly judges: Oracles
  /** Nothing goes wrong with it, nor with its broker; with other brokers it may. */
  readonly isSpared: boolean
  connect(): Promise<Session>
}

/** What a session tells only if something is wrong with its broker or on the way. */
const fromTheBroker: ReadonlySet<string> = new Set([
  'jeopardy',
  'resumed',
  'newSession',
  'draining',
])

export class Program {
  readonly process: SimProcess
  readonly #deps: ProgramDeps
  readonly #holdings = new Set<Holding>()
  readonly #claims: Claims
  #session: Session | undefined
  /** What is held everywhere, as far as this client was told. */
  picture: Pictures | undefined
  #isStopping = false
  #mayFinish: () => void = () => {}
  #ops = 0
  /** Everything was settled and given back; only the session is left. */
  isIdle = false
  isDone = false

  constructor(deps: ProgramDeps) {
    this.#deps = deps
    this.process = deps.process
    this.#claims = new Claims(deps.process, deps.judges)
  }

  /** What it still waits for, for whoever has to explain why it does not end. */
  get unsettled(): string {
    return this.#claims.unsettled
  }

  async run(): Promise<void> {
    const finish = new Promise<void>((resolve) => {
      this.#mayFinish = resolve
    })
    while (!this.#isStopping) await this.#live()
    this.isIdle = true
    await finish
    await this.#close()
    this.isDone = true
  }

  /** Asks for nothing more; ends what is going on. */
  stop(): void {
    this.#isStopping = true
  }

  /** Lets an idle program close its session. */
  finish(): void {
    this.process.receive(this.#mayFinish)
  }

  // ------------------------------------------------------------------------------- one session

  async #live(): Promise<void> {
    const session = await this.#connect()
    if (session === undefined) {
      await this.#sleep(this.#around(500))
      return
    }
    this.#session = session
    let isClosed = false
    for (const event of [
      'jeopardy',
      'resumed',
      'newSession',
      'lost',
      'draining',
      'closed',
    ] as const) {
      session.on(event, () => {
        if (event === 'closed') isClosed = true
        if (event === 'resumed') this.#deps.judges.holders.resumed(this.process, session.id)
        this.#claims.count(`event ${event}`)
        this.#claims.note(event)
        if (this.#deps.isSpared && fromTheBroker.has(event)) {
          this.#claims.broken('who is spared notices nothing', event)
        }
      })
    }
    this.picture = undefined
    if (this.#deps.client.watches) {
      const { random, plan } = this.#deps
      this.picture = new Pictures(session, this.#claims, random.pick(plan.keys))
    }
    const fibers = Array.from({ length: this.#deps.client.fibers }, async () => {
      while (!this.#isStopping && !isClosed && this.#session === session) {
        await this.#act(session)
        await this.#sleep(this.#around(this.#deps.plan.thinkMs))
      }
    })
    await Promise.all(fibers)
    if (!isClosed || this.#session !== session) return
    this.#session = undefined
    this.picture = undefined
  }

  async #connect(): Promise<Session | undefined> {
    if (this.#session !== undefined) return this.#session
    try {
      return await this.#claims.attempt('connect', this.#deps.connect())
    } catch (error) {
      this.#claims.expect(error, new Set(['UNAVAILABLE', 'SESSION_CLOSED']), 'connect')
      return undefined
    }
  }

  async #close(): Promise<void> {
    const session = this.#session
    this.#session = undefined
    this.picture = undefined
    if (session === undefined) return
    for (const holding of this.#holdings) holding.isReturned = true
    const start = this.process.ranFor
    await this.#claims.attempt('close', session.close())
    const took = this.process.ranFor - start
    if (took > 1_000 + timeoutRoomMs) this.#claims.broken('close settles within 1 s', `${took} ms`)
  }

  // ------------------------------------------------------------------------------- one action

  async #act(session: Session): Promise<void> {
    const { random, plan } = this.#deps
    const action: Action = random.weighted(plan.actions)
    this.#claims.count(`action ${action}`)
    const key = random.pick(plan.keys)
    if (this.picture !== undefined && random.chance(0.2)) this.picture.change(random.chance(0.5))
    switch (action) {
      case 'lock':
        return this.#request(key, this.#want(), (want) => session.lock(key, want))
      case 'tryLock': {
        const { timeout: _, ...want } = this.#want()
        return this.#request(key, want, (without) => session.tryLock(key, without))
      }
      case 'steal': {
        const steal: Want = { steal: true, metadata: this.#name() }
        return this.#request(key, steal, (want) => session.lock(key, want))
      }
      case 'singleflight': {
        const { mode: _, ttl: __, ...want } = this.#want()
        if (want.timeout === 0) want.timeout = 1
        want.metadata.isShared = true
        return this.#request(key, want, (plain) => session.singleflightLock(key, plain))
      }
      case 'withLock':
        return this.#withLock(session, key)
      case 'query':
        return this.#query(session, key)
      case 'reconnect':
        return this.#close()
    }
  }

  #name(): Want['metadata'] {
    return { op: `${this.process.name}.${++this.#ops}` }
  }

  #want(): Want {
    const { random, plan } = this.#deps
    const want: Want = { metadata: this.#name() }
    if (random.chance(plan.shared)) want.mode = 'shared'
    if (random.chance(plan.ttl)) want.ttl = random.int(100, 5_000)
    if (random.chance(plan.timeout)) want.timeout = random.chance(0.1) ? 0 : random.int(1, 4_000)
    if (random.chance(plan.abort)) {
      const controller = new AbortController()
      want.signal = controller.signal
      if (random.chance(0.1)) controller.abort(want.metadata.op)
      else {
        const abort = () => controller.abort(want.metadata.op)
        want.abortTimer = this.process.clock.setTimer(abort, this.#around(500))
      }
    }
    return want
  }

  async #request(key: string, want: Want, ask: (options: Options) => Promise<Lock>): Promise<void> {
    const start = this.#claims.start()
    let isSettled = false
    let lock: Lock
    try {
      const task = this.#claims.attempt(`${want.metadata.op} ${key}`, ask(optionsOf(want)))
      this.#claims.watchAbort(want, () => isSettled)
      lock = await task
    } catch (error) {
      this.#claims.judgeRefusal(error, want, start)
      return
    } finally {
      isSettled = true
      this.process.clock.clearTimer(want.abortTimer)
    }
    this.#claims.judgeTime(want, start)
    const holding = this.#took(lock)
    try {
      await this.#hold(lock, want)
    } finally {
      await this.#unlock(holding)
    }
  }

  async #withLock(session: Session, key: string): Promise<void> {
    const want = this.#want()
    const start = this.#claims.start()
    let got: Holding | undefined
    let isSettled = false
    this.#claims.watchAbort(want, () => isSettled || got !== undefined)
    try {
      const task = session.withLock(
        key,
        async (lock: Lock) => {
          got = this.#took(lock)
          await this.#hold(lock, want)
          got.isReturned = true
        },
        optionsOf(want),
      )
      await this.#claims.attempt(`${want.metadata.op} ${key}`, task)
      if (got?.wasLost === true) this.#claims.broken('withLock tells a loss', want.metadata.op)
    } catch (error) {
      if (got === undefined) this.#claims.judgeRefusal(error, want, start)
      else this.#claims.expect(error, new Set(['LOCK_LOST']), 'withLock')
    } finally {
      isSettled = true
      this.process.clock.clearTimer(want.abortTimer)
      if (got !== undefined) this.#holdings.delete(got)
    }
  }

  async #query(session: Session, key: string): Promise<void> {
    try {
      await this.#claims.attempt('query', session.query({ key }))
      await this.#claims.attempt('stats', session.stats())
    } catch (error) {
      const codes: ErrorCode[] = ['SESSION_CLOSED', 'SESSION_EXPIRED', 'UNAVAILABLE']
      this.#claims.expect(error, new Set(codes), 'query')
    }
  }

  #took(lock: Lock): Holding {
    const { process } = this
    const holding: Holding = {
      lock,
      process,
      isReturned: false,
      wasLost: false,
      lostInTurn: 0,
      takenInTurn: process.turns,
    }
    this.#holdings.add(holding)
    this.#claims.count('lock taken')
    this.#deps.judges.holders.took(holding)
    return holding
  }

  /** Works under the lock for a while, as long as it is held. */
  async #hold(lock: Lock, want: Want): Promise<void> {
    const { random, plan } = this.#deps
    let isOver = false
    if (want.ttl !== undefined && want.ttl > 300 && random.chance(0.3)) {
      const interval = Math.floor(want.ttl / 3)
      this.#autoRefresh(lock, interval, () => isOver)
    }
    if (want.ttl !== undefined && random.chance(0.35)) await this.#refreshLate(lock, want.ttl)
    const slices = random.int(0, 3)
    for (let i = 0; i < slices && lock.held && !this.#isStopping; i++) {
      await this.#sleep(this.#around(plan.holdMs))
      if (random.chance(0.2)) await this.#refresh(lock)
    }
    isOver = true
  }

  /** When the client's own bound is about to pass. */
  async #refreshLate(lock: Lock, ttl: number): Promise<void> {
    const latest = safeDuration(ttl)
    await this.#sleep(Math.max(0, latest - this.#deps.random.between(0, 200)))
    await this.#refresh(lock)
  }

  async #refresh(lock: Lock): Promise<void> {
    try {
      await this.#claims.attempt(`refresh ${lock.key}`, lock.refresh())
      this.#claims.count('refreshed')
    } catch (error) {
      this.#claims.expectLoss(error, 'refresh')
    }
  }

  async #autoRefresh(lock: Lock, interval: number, isOver: () => boolean): Promise<void> {
    try {
      await lock.autoRefresh({ interval, timeout: interval })
    } catch (error) {
      if (!isOver()) this.#claims.expectLoss(error, 'autoRefresh', 'LOCK_TIMEOUT')
    }
  }

  async #unlock(holding: Holding): Promise<void> {
    holding.isReturned = true
    try {
      await this.#claims.attempt(`unlock ${holding.lock.key}`, holding.lock.unlock())
      this.#claims.count('unlocked')
    } catch (error) {
      this.#claims.expectLoss(error, 'unlock')
    } finally {
      this.#holdings.delete(holding)
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.process.clock.setTimer(resolve, ms))
  }

  /** Mostly near `ms`, sometimes nothing, sometimes much more. */
  #around(ms: number): number {
    const { random } = this.#deps
    const factor = random.weighted({ none: 1, some: 6, much: 1 })
    if (factor === 'none') return 0
    return factor === 'some' ? random.between(0, 2 * ms) : random.between(ms, 6 * ms)
  }
}

type Options = Omit<Want, 'abortTimer'>

/** What the client is asked with: it refuses what is no option of its own. */
function optionsOf({ abortTimer: _, ...options }: Want): Options {
  return options
}
