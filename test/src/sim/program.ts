/**
 * The program of one client. The program connects, calls every method of its session at random,
 * closes its session and connects again. Oracles (test code that observes the run) check every
 * result and every error. This file opens and closes the sessions, and chooses the actions. The
 * actions themselves are in `lockCalls.ts`, `elections.ts` and the other files of calls.
 */
import type { Session } from '@holdfast/client'
import type { ErrorCode } from '@holdfast/shared'
import { callBarrier } from './barrierCalls.js'
import { CallContext, type CallContextDeps } from './callContext.js'
import { type CallOracle, lateToleranceMs } from './callOracle.js'
import { Campaigns, LeaderView } from './elections.js'
import { LockCalls } from './lockCalls.js'
import { callOnce } from './onceCalls.js'
import type { Action, ClientPlan } from './plan.js'
import { ProgramLocks } from './programLocks.js'
import { runScope } from './scopeCalls.js'
import type { SimProcess } from './simProcess.js'
import { WatchViews } from './watchViews.js'

export interface ProgramDeps extends CallContextDeps {
  readonly client: ClientPlan
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
  readonly #context: CallContext
  readonly #callOracle: CallOracle
  readonly #locks: ProgramLocks
  readonly #lockCalls: LockCalls
  readonly #campaigns: Campaigns
  #session: Session | undefined
  /** What the watches of the program report; undefined without watches. */
  watchViews: WatchViews | undefined
  #allowFinish: () => void = () => {}
  /** Whether the program waits for `finish`: all calls have settled, and all locks are unlocked. */
  isIdle = false
  /** Whether the program has closed its session after `finish`. */
  isDone = false

  constructor(deps: ProgramDeps) {
    this.#deps = deps
    this.process = deps.process
    this.#context = new CallContext(deps)
    this.#callOracle = this.#context.callOracle
    this.#locks = new ProgramLocks(this.#context)
    this.#lockCalls = new LockCalls(this.#context, this.#locks)
    this.#campaigns = new Campaigns(this.#context, this.#lockCalls)
  }

  /** The calls that have not settled, for the error message of a program that does not end. */
  get unsettled(): string {
    return this.#callOracle.unsettled
  }

  async run(): Promise<void> {
    const finishAllowed = new Promise<void>((resolve) => {
      this.#allowFinish = resolve
    })
    while (!this.#context.isStopping) await this.#runSession()
    this.isIdle = true
    await finishAllowed
    await this.#close()
    this.isDone = true
  }

  /** Starts no new actions. The present actions run to their end. */
  stop(): void {
    this.#context.isStopping = true
  }

  /** Lets an idle program close its session, in a turn (run of the event loop) of its process. */
  finish(): void {
    this.process.receive(this.#allowFinish)
  }

  // ------------------------------------------------------------------------------------- a session

  async #runSession(): Promise<void> {
    const session = await this.#connect()
    if (session === undefined) {
      await this.#context.pauseNear(500)
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
      while (!this.#context.isStopping && !isClosed && this.#session === session) {
        await this.#act(session)
        await this.#context.pauseNear(this.#deps.plan.thinkMs)
      }
    })
    await Promise.all(loops)
    // `run` will close a session that is still open. `#close` has forgotten the session it closed.
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
    this.#locks.returnAll()
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
        return this.#lockCalls.lock(session, key)
      case 'tryLock':
        return this.#lockCalls.tryLock(session, key)
      case 'steal':
        return this.#lockCalls.steal(session, key)
      case 'singleflight':
        return this.#lockCalls.singleflightLock(session, key)
      case 'permits':
        return this.#lockCalls.lockPermits(session, key)
      case 'lockAll':
        return this.#lockCalls.lockAll(session)
      case 'withLock':
        return this.#lockCalls.withLock(session, key)
      case 'upgrade':
        return this.#lockCalls.changeModes(session, key)
      case 'campaign':
        return this.#campaigns.campaign(session, key)
      case 'barrier':
        return callBarrier(session, key, this.#context)
      case 'once':
        return callOnce(session, key, this.#context)
      case 'scope':
        return runScope(session, this.#context, this.#locks)
      case 'query':
        return this.#query(session, key)
      case 'reconnect':
        // Because no session is left, the next `#runSession` connects again.
        return this.#close()
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
}
