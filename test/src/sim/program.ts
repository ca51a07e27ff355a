/**
 * The program of one client. The program connects, requests locks in every possible way, holds,
 * refreshes and unlocks locks, aborts requests, closes its session and connects again. Oracles
 * (test code that observes the run) check every result and every error. Probabilities and ranges
 * without a comment only set how often the program does something.
 */
import type { Leadership, Lock, LockItem, Session } from '@holdfast/client'
import { type ErrorCode, safeDuration } from '@holdfast/shared'
import { callBarrier } from './barrierCalls.js'
import { CallOracle, type LockRequest, lateToleranceMs } from './callOracle.js'
import type { HeldLock } from './holderOracle.js'
import { type LeaderValue, LeaderView } from './leaderView.js'
import { changeModes } from './modeCalls.js'
import { type CallDeps, callOnce } from './onceCalls.js'
import type { Oracles } from './oracles.js'
import type { Action, ClientPlan, Plan } from './plan.js'
import type { Random } from './random.js'
import { runScope } from './scopeCalls.js'
import type { SimProcess } from './simProcess.js'
import { WatchViews } from './watchViews.js'

export interface ProgramDeps {
  readonly process: SimProcess
  readonly random: Random
  readonly plan: Plan
  readonly client: ClientPlan
  readonly oracles: Oracles
  /** Whether faults spare this client and its broker. Faults may affect other brokers. */
  readonly isSpared: boolean
  connect(): Promise<Session>
}

/**
 * The session events that only a fault of the broker or of the network can cause. In `jeopardy` the
 * connection is down, but the session and its locks may still exist.
 */
const faultEvents: ReadonlySet<string> = new Set(['jeopardy', 'resumed', 'newSession', 'draining'])

export class Program {
  readonly process: SimProcess
  readonly #deps: ProgramDeps
  readonly #heldLocks = new Set<HeldLock>()
  readonly #callOracle: CallOracle
  #session: Session | undefined
  /** What the watches of the program report; undefined without watches. */
  watchViews: WatchViews | undefined
  /** The keys of the elections in which this program takes part, at most once in each. */
  readonly #campaigns = new Set<string>()
  #isStopping = false
  #allowFinish: () => void = () => {}
  /** The number of requests so far, which makes the name of each request unique. */
  #ops = 0
  /** Whether all calls have settled and all locks are unlocked. The program waits for `finish`. */
  isIdle = false
  /** Whether the program has closed its session after `finish`. */
  isDone = false

  constructor(deps: ProgramDeps) {
    this.#deps = deps
    this.process = deps.process
    this.#callOracle = new CallOracle(deps.process, deps.oracles)
  }

  /** The calls that have not settled, for the error message of a program that does not end. */
  get unsettled(): string {
    return this.#callOracle.unsettled
  }

  async run(): Promise<void> {
    const finishAllowed = new Promise<void>((resolve) => {
      this.#allowFinish = resolve
    })
    while (!this.#isStopping) await this.#runSession()
    this.isIdle = true
    await finishAllowed
    await this.#close()
    this.isDone = true
  }

  /** Starts no new actions. The present actions run to their end. */
  stop(): void {
    this.#isStopping = true
  }

  /** Lets an idle program close its session, from the next turn of its process. */
  finish(): void {
    this.process.receive(this.#allowFinish)
  }

  // ------------------------------------------------------------------------------------- a session

  async #runSession(): Promise<void> {
    const session = await this.#connect()
    if (session === undefined) {
      await this.#sleep(this.#randomTimeNear(500))
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
        if (event === 'resumed')
          this.#deps.oracles.holderOracle.clientResumed(this.process, session.id)
        this.#callOracle.count(`event ${event}`)
        this.#callOracle.trace(event)
        if (this.#deps.isSpared && faultEvents.has(event)) {
          this.#callOracle.violated('a spared client notices no fault', event)
        }
      })
    }
    this.watchViews = undefined
    if (this.#deps.client.watches) {
      const { random, plan } = this.#deps
      this.watchViews = new WatchViews(session, this.#callOracle, random.pick(plan.keys))
      void new LeaderView(this.#callOracle).run(session, random.pick(plan.keys))
    }
    const loops = Array.from({ length: this.#deps.client.concurrency }, async () => {
      while (!this.#isStopping && !isClosed && this.#session === session) {
        await this.#act(session)
        await this.#sleep(this.#randomTimeNear(this.#deps.plan.thinkMs))
      }
    })
    await Promise.all(loops)
    // Keeps an open session, which `run` will close. `#close` has already forgotten its session.
    if (!isClosed || this.#session !== session) return
    this.#session = undefined
    this.watchViews = undefined
  }

  async #connect(): Promise<Session | undefined> {
    if (this.#session !== undefined) return this.#session
    try {
      return await this.#callOracle.track('connect', this.#deps.connect())
    } catch (error) {
      this.#callOracle.expect(error, new Set(['UNAVAILABLE', 'SESSION_CLOSED']), 'connect')
      return undefined
    }
  }

  async #close(): Promise<void> {
    const session = this.#session
    this.#session = undefined
    this.watchViews = undefined
    if (session === undefined) return
    for (const heldLock of this.#heldLocks) heldLock.isReturned = true
    const start = this.process.ranFor
    await this.#callOracle.track('close', session.close())
    const elapsed = this.process.ranFor - start
    if (elapsed > 1_000 + lateToleranceMs)
      this.#callOracle.violated('close settles within 1 s', `${elapsed} ms`)
  }

  // ------------------------------------------------------------------------------------- an action

  async #act(session: Session): Promise<void> {
    const { random, plan } = this.#deps
    const action: Action = random.pickWeighted(plan.actions)
    this.#callOracle.count(`action ${action}`)
    const key = random.pick(plan.keys)
    if (this.watchViews !== undefined && random.chance(0.2)) {
      const opensAnother = random.chance(0.5)
      this.watchViews.closeWatchOfAllKeys(opensAnother)
    }
    switch (action) {
      case 'lock':
        return this.#request(key, this.#newRequest(), (options) => session.lock(key, options))
      case 'tryLock': {
        // `tryLock` never waits, so it has neither `timeout` nor `onQueued`.
        const { timeout: _, onQueued: __, ...request } = this.#newRequest()
        return this.#request(key, request, (options) => session.tryLock(key, options))
      }
      case 'steal': {
        const steal: LockRequest = { steal: true, metadata: this.#newMetadata() }
        return this.#request(key, steal, (options) => session.lock(key, options))
      }
      case 'singleflight': {
        // Only callers with equal mode, ttl and maxHold share a request, so these options are left
        // out. `singleflightLock` refuses notices and the timeout 0.
        const { mode: _, ttl: __, maxHold: ___, ...request } = this.#newRequest()
        delete request.onQueued
        delete request.onContended
        if (request.timeout === 0) request.timeout = 1
        // `joinable`: other callers may wait for this request, even after this call has failed.
        request.metadata.joinable = true
        return this.#request(key, request, (options) => session.singleflightLock(key, options))
      }
      case 'permits': {
        const { mode: _, ...request } = this.#newRequest()
        // Rarely asks for another capacity, which the broker must refuse while the key is in use.
        const capacity = random.chance(0.95) ? 3 : 2
        const permits = random.int(1, 2)
        const permitsRequest = { ...request, capacity, permits }
        return this.#request(key, permitsRequest, (options) => session.lock(key, options))
      }
      case 'lockAll': {
        const { mode: _, ...request } = this.#newRequest()
        const items = this.#newItems()
        return this.#request(items[0]!.key, request, (options) => session.lockAll(items, options))
      }
      case 'campaign':
        return this.#campaign(session, key)
      case 'withLock':
        return this.#withLock(session, key)
      case 'query':
        return this.#query(session, key)
      case 'barrier':
        return callBarrier(session, key, this.#callDeps)
      case 'once':
        return callOnce(session, key, this.#callDeps)
      case 'upgrade':
        return this.#changeModes(session, key)
      case 'scope':
        return this.#runScope(session)
      case 'reconnect':
        // Without a session, `run` connects again.
        return this.#close()
    }
  }

  /** Campaigns, and proclaims values while the program leads. */
  async #campaign(session: Session, key: string): Promise<void> {
    if (this.#campaigns.has(key)) return
    this.#campaigns.add(key)
    // A campaign has no `mode` and no `ttl`. So `#hold` must see no `ttl` either.
    const { mode: _, ttl: __, ...request } = this.#newRequest()
    const value: LeaderValue = { op: request.metadata.op, count: 0 }
    let proclaiming: Promise<void> | undefined
    const campaign = async (options: Options): Promise<Lock> => {
      const { timeout, signal, metadata } = options
      const leadership = await session.campaign(key, { value, timeout, signal, metadata })
      proclaiming = this.#proclaim(session, leadership, value)
      return leadership
    }
    await this.#request(key, request, campaign)
    await proclaiming
    this.#campaigns.delete(key)
  }

  async #proclaim(session: Session, leadership: Leadership, { op }: LeaderValue): Promise<void> {
    const { key } = leadership
    const lastCount = this.#deps.random.int(0, 3)
    for (let count = 1; count <= lastCount; count++) {
      await this.#sleep(this.#randomTimeNear(this.#deps.plan.holdMs / 4))
      if (!leadership.held) return
      const value: LeaderValue = { op, count }
      try {
        await this.#callOracle.track(`proclaim ${key}`, leadership.proclaim(value))
        this.#callOracle.count('proclaimed')
        const { held } = await this.#callOracle.track('query', session.query({ key }))
        const shown = held.find(({ fence }) => fence === leadership.fence)
        // The leadership may have ended at the broker before the client knows.
        if (shown !== undefined && (shown.value as LeaderValue | undefined)?.count !== count)
          this.#callOracle.violated('a query shows the value of the leader', `${op} ${count}`)
      } catch (error) {
        this.#callOracle.expectLoss(error, 'proclaim', 'UNAVAILABLE')
      }
    }
  }

  /** The items of a set (a request for several keys): keys in random order with random modes. */
  #newItems(): LockItem[] {
    const { random, plan } = this.#deps
    const keys = [...plan.keys]
    const size = random.int(1, Math.min(3, keys.length))
    return Array.from({ length: size }, (): LockItem => {
      const [key] = keys.splice(random.int(0, keys.length - 1), 1)
      const kind = random.pickWeighted({ exclusive: 4, shared: 2, permits: 1 })
      if (kind === 'permits') return { key: key!, capacity: 3 }
      return kind === 'shared' ? { key: key!, mode: 'shared' } : { key: key! }
    })
  }

  #newMetadata(): LockRequest['metadata'] {
    return { op: `${this.process.name}.${++this.#ops}` }
  }

  #newRequest(): LockRequest {
    const { random, plan } = this.#deps
    const request: LockRequest = { metadata: this.#newMetadata() }
    if (random.chance(plan.shared)) request.mode = 'shared'
    if (random.chance(plan.ttl)) request.ttl = random.int(100, 5_000)
    if (random.chance(plan.timeout)) request.timeout = random.chance(0.1) ? 0 : random.int(1, 4_000)
    if (random.chance(plan.maxHold)) request.maxHold = random.int(100, 4_000)
    if (random.chance(plan.notices)) this.#askForNotices(request)
    if (random.chance(plan.abort)) {
      const controller = new AbortController()
      request.signal = controller.signal
      if (random.chance(0.1)) controller.abort(request.metadata.op)
      else {
        const abort = () => controller.abort(request.metadata.op)
        request.abortTimer = this.process.clock.setTimer(abort, this.#randomTimeNear(500))
      }
    }
    return request
  }

  /** Asks for the notices `queued` and `contended`. A request may get `queued` only once. */
  #askForNotices(request: LockRequest): void {
    let isQueued = false
    request.onQueued = () => {
      if (isQueued) this.#callOracle.violated('onQueued is called once', request.metadata.op)
      isQueued = true
      this.#callOracle.count('onQueued')
    }
    request.onContended = () => this.#callOracle.count('onContended')
  }

  /**
   * Requests a lock, checks the outcome, uses the lock and unlocks it.
   *
   * @param send Sends the request.
   * @param use What the program does with the held lock. Default: it holds the lock for a while.
   */
  async #request(
    key: string,
    request: LockRequest,
    send: (options: Options) => Promise<Lock>,
    use: (heldLock: HeldLock) => Promise<void> = ({ lock }) => this.#hold(lock, request),
  ): Promise<void> {
    const start = this.#callOracle.start()
    let isSettled = false
    let lock: Lock
    try {
      const task = this.#callOracle.track(
        `${request.metadata.op} ${key}`,
        send(clientOptions(request)),
      )
      this.#callOracle.watchAbort(request, () => isSettled)
      lock = await task
    } catch (error) {
      this.#callOracle.checkFailure(error, request, start)
      return
    } finally {
      isSettled = true
      this.process.clock.clearTimer(request.abortTimer)
    }
    this.#callOracle.checkTimeout(request, start)
    const heldLock = this.#acquired(lock)
    try {
      await use(heldLock)
    } finally {
      await this.#unlock(heldLock)
    }
  }

  async #withLock(session: Session, key: string): Promise<void> {
    const request = this.#newRequest()
    const start = this.#callOracle.start()
    let heldLock: HeldLock | undefined
    let isSettled = false
    this.#callOracle.watchAbort(request, () => isSettled || heldLock !== undefined)
    try {
      const task = session.withLock(
        key,
        async (lock: Lock) => {
          heldLock = this.#acquired(lock)
          await this.#hold(lock, request)
          heldLock.isReturned = true
        },
        clientOptions(request),
      )
      await this.#callOracle.track(`${request.metadata.op} ${key}`, task)
      if (heldLock?.wasLost === true)
        this.#callOracle.violated('withLock rejects after a loss', request.metadata.op)
    } catch (error) {
      if (heldLock === undefined) this.#callOracle.checkFailure(error, request, start)
      else this.#callOracle.expect(error, new Set(['LOCK_LOST']), 'withLock')
    } finally {
      isSettled = true
      this.process.clock.clearTimer(request.abortTimer)
      if (heldLock !== undefined) this.#heldLocks.delete(heldLock)
    }
  }

  async #query(session: Session, key: string): Promise<void> {
    try {
      await this.#callOracle.track('query', session.query({ key }))
      await this.#callOracle.track('stats', session.stats())
    } catch (error) {
      const codes: ErrorCode[] = ['SESSION_CLOSED', 'SESSION_EXPIRED', 'UNAVAILABLE']
      this.#callOracle.expect(error, new Set(codes), 'query')
    }
  }

  get #callDeps(): CallDeps {
    return {
      ...this.#deps,
      callOracle: this.#callOracle,
      newRequest: () => this.#newRequest(),
      work: () => this.#sleep(this.#randomTimeNear(this.#deps.plan.holdMs)),
    }
  }

  /** Upgrades and downgrades a lock, which is mostly shared at first. */
  #changeModes(session: Session, key: string): Promise<void> {
    const request = this.#newRequest()
    if (this.#deps.random.chance(0.8)) request.mode = 'shared'
    const send = (options: Options) => session.lock(key, options)
    return this.#request(key, request, send, (heldLock) => changeModes(heldLock, this.#callDeps))
  }

  #runScope(session: Session): Promise<void> {
    return runScope(session, {
      ...this.#callDeps,
      newItems: () => this.#newItems(),
      isStopping: () => this.#isStopping,
      acquired: (lock) => this.#acquired(lock),
      unlock: (heldLock) => this.#unlock(heldLock),
      forget: (heldLock) => this.#heldLocks.delete(heldLock),
    })
  }

  #acquired(lock: Lock): HeldLock {
    const { process } = this
    const heldLock: HeldLock = {
      lock,
      process,
      isReturned: false,
      wasLost: false,
      lostInTurn: 0,
      grantedInTurn: process.turns,
    }
    this.#heldLocks.add(heldLock)
    this.#callOracle.count('lock acquired')
    this.#deps.oracles.holderOracle.acquired(heldLock)
    return heldLock
  }

  /** Keeps the lock for a random time, or until the client loses the lock. */
  async #hold(lock: Lock, request: LockRequest): Promise<void> {
    const { random, plan } = this.#deps
    let isHoldOver = false
    // Above 300 ms, a third of the ttl is at least 100 ms.
    if (request.ttl !== undefined && request.ttl > 300 && random.chance(0.3)) {
      const interval = Math.floor(request.ttl / 3)
      this.#autoRefresh(lock, interval, () => isHoldOver)
    }
    if (request.ttl !== undefined && random.chance(0.35)) await this.#refreshLate(lock, request.ttl)
    const slices = random.int(0, 3)
    for (let i = 0; i < slices && lock.held && !this.#isStopping; i++) {
      await this.#sleep(this.#randomTimeNear(plan.holdMs))
      if (random.chance(0.2)) await this.#refresh(lock)
    }
    isHoldOver = true
  }

  /**
   * Refreshes the lock shortly before the client regards the ttl as over. The ttl is how long a
   * lock lasts after its grant or last refresh.
   */
  async #refreshLate(lock: Lock, ttl: number): Promise<void> {
    const latest = safeDuration(ttl)
    await this.#sleep(Math.max(0, latest - this.#deps.random.between(0, 200)))
    await this.#refresh(lock)
  }

  async #refresh(lock: Lock): Promise<void> {
    try {
      await this.#callOracle.track(`refresh ${lock.key}`, lock.refresh())
      this.#callOracle.count('refreshed')
    } catch (error) {
      this.#callOracle.expectLoss(error, 'refresh')
    }
  }

  async #autoRefresh(lock: Lock, interval: number, isHoldOver: () => boolean): Promise<void> {
    try {
      await lock.autoRefresh({ interval, timeout: interval })
    } catch (error) {
      if (!isHoldOver()) this.#callOracle.expectLoss(error, 'autoRefresh', 'LOCK_TIMEOUT')
    }
  }

  async #unlock(heldLock: HeldLock): Promise<void> {
    heldLock.isReturned = true
    try {
      await this.#callOracle.track(`unlock ${heldLock.lock.key}`, heldLock.lock.unlock())
      this.#callOracle.count('unlocked')
    } catch (error) {
      this.#callOracle.expectLoss(error, 'unlock')
    } finally {
      this.#heldLocks.delete(heldLock)
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.process.clock.setTimer(resolve, ms))
  }

  /** Returns a random time: mostly up to twice `ms`, sometimes 0, sometimes much longer. */
  #randomTimeNear(ms: number): number {
    const { random } = this.#deps
    const factor = random.pickWeighted({ none: 1, some: 6, much: 1 })
    if (factor === 'none') return 0
    return factor === 'some' ? random.between(0, 2 * ms) : random.between(ms, 6 * ms)
  }
}

type Options = Omit<LockRequest, 'abortTimer'>

/** Removes `abortTimer`, because the client rejects unknown options. */
function clientOptions({ abortTimer: _, ...options }: LockRequest): Options {
  return options
}
