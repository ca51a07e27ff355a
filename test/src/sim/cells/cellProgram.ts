/**
 * The programs of the clients in a world with cells. A cell is a broker that serves a part of the
 * keys. A `CellProgram` has one session over all cells, and locks keys of all cells. A
 * `WrongProgram` has a wrong list of cells, and must never lock a key that this list assigns to the
 * wrong broker.
 */
import type { Lock, QueryResult, Session } from '@holdfast/client'
import type { CellSession } from '@holdfast/client/cells'
import { type ErrorCode, HoldfastError } from '@holdfast/shared'
import { longestLeaseMs } from '../brokerMachine.js'
import { CallOracle } from '../callOracle.js'
import type { Random } from '../random.js'
import type { SimProcess } from '../simProcess.js'
import type { ClientProgram } from './cellClientMachine.js'
import type { CellKeys } from './cellKeys.js'
import type { CellOracle } from './cellOracle.js'

export interface CellProgramDeps {
  readonly process: SimProcess
  readonly random: Random
  readonly oracle: CellOracle
  readonly keys: CellKeys
  /** The mean pause between two actions, in ms. */
  readonly thinkMs: number
  /** The mean time for which a lock is held, in ms. */
  readonly holdMs: number
  /** How many actions run concurrently. */
  readonly concurrency: number
  /** The errors with which a call may fail when all effects of the faults are over. */
  readonly finalCodes: readonly ErrorCode[]
}

/** The errors with which any call of a program may fail. */
const callCodes: readonly ErrorCode[] = ['LOCK_HELD', 'LOCK_TIMEOUT', 'LOCK_LOST', 'UNAVAILABLE']
/** The errors with which `unlock` may fail. */
const unlockCodes: ReadonlySet<ErrorCode> = new Set(['LOCK_LOST', 'LOCK_NOT_HELD', 'UNAVAILABLE'])

/**
 * How long the effects of the faults last at most, in ms: a drain with its restart (10 s), a quiet
 * start, and a lease. A quiet start, in which a new broker grants nothing, lasts as long as the
 * longest lease.
 */
const faultEffectsMs = 2 * longestLeaseMs + 10_000

/** Runs actions in several loops until `stop`, and closes its session after `finish`. */
abstract class Program implements ClientProgram {
  readonly deps: CellProgramDeps
  readonly callOracle: CallOracle
  #isStopping = false
  #allowFinish: () => void = () => {}
  /** Whether all actions and the final calls have ended. */
  isIdle = false
  /** Whether the program has closed its session after `finish`. */
  isDone = false

  constructor(deps: CellProgramDeps) {
    this.deps = deps
    this.callOracle = new CallOracle(deps.process, deps.oracle)
  }

  abstract start(): Promise<void>
  abstract act(): Promise<void>
  abstract close(): Promise<void>

  /** Makes calls after the last action, when the faults have ended. */
  async finalCalls(): Promise<void> {}

  get unsettled(): string {
    return this.callOracle.unsettled
  }

  async run(): Promise<void> {
    const finish = new Promise<void>((resolve) => {
      this.#allowFinish = resolve
    })
    await this.start()
    const loops = Array.from({ length: this.deps.concurrency }, async () => {
      while (!this.#isStopping) {
        await this.act()
        await this.waitAbout(this.deps.thinkMs)
      }
    })
    await Promise.all(loops)
    await this.finalCalls()
    this.isIdle = true
    await finish
    await this.callOracle.track('close', this.close())
    this.isDone = true
  }

  stop(): void {
    this.#isStopping = true
  }

  /** Lets the program close its session in the next turn of its process. */
  finish(): void {
    this.deps.process.receive(this.#allowFinish)
  }

  /** Waits for a random time with this mean, in ms. */
  waitAbout(meanMs: number): Promise<void> {
    return this.wait(this.deps.random.between(0, 2 * meanMs))
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.deps.process.clock.setTimer(resolve, ms)
    })
  }

  /** Holds a lock for a while, and unlocks it. */
  async holdAndUnlock(lock: Lock, keys: readonly string[]): Promise<void> {
    const { oracle, process, holdMs } = this.deps
    const endHold = oracle.acquired(lock, keys, process)
    await this.waitAbout(holdMs)
    endHold()
    try {
      await this.callOracle.track(`unlock ${lock.fence}`, lock.unlock())
    } catch (error) {
      this.callOracle.expect(error, unlockCodes, 'unlock')
    }
  }

  /** Runs a call. The call may fail with the errors `codes`; every other error is a violation. */
  async attempt(name: string, call: () => Promise<void>, codes = callCodes): Promise<void> {
    try {
      await call()
    } catch (error) {
      this.callOracle.expect(error, new Set(codes), name)
      if (error instanceof HoldfastError) this.callOracle.count(`refused ${error.code}`)
    }
  }
}

/** The relative frequency of each action. */
const actionWeights = { lock: 10, tryLock: 4, withLock: 4, lockAll: 5, scope: 3, query: 1 }

export class CellProgram extends Program {
  readonly #connect: () => Promise<CellSession>
  /** The number of the cell that has no faults. */
  readonly #sparedCell: number
  #session!: CellSession

  constructor(deps: CellProgramDeps, sparedCell: number, connect: () => Promise<CellSession>) {
    super(deps)
    this.#connect = connect
    this.#sparedCell = sparedCell
  }

  async start(): Promise<void> {
    this.#session = await this.#connect()
    this.#session
      .on('jeopardy', (_, cell) => this.#onEvent('jeopardy', cell))
      .on('newSession', (cell) => this.#onEvent('newSession', cell))
      .on('resumed', (cell) => this.#onEvent('resumed', cell))
      .on('draining', (_, cell) => this.#onEvent('draining', cell))
      .on('lost', (_, cell) => this.#onEvent('lost', cell))
      .on('cellClosed', (_, cell) => this.#onEvent('cellClosed', cell))
  }

  close(): Promise<void> {
    return this.#session.close()
  }

  #onEvent(event: string, cell: number): void {
    this.callOracle.trace(`${event} in cell ${cell}`)
    this.callOracle.count(`event ${event}`)
    if (cell === this.#sparedCell)
      this.callOracle.violated(
        'a fault of one cell reaches no other cell',
        `${event} in cell ${cell}`,
      )
  }

  /**
   * Checks that every cell works when all effects of the faults are over: a call must succeed, or
   * fail with one of `finalCodes`. `{tag}` is a key of the cell of this tag.
   */
  override async finalCalls(): Promise<void> {
    await this.wait(faultEffectsMs)
    for (const tag of this.deps.keys.tags) {
      const result = this.#session.withLock(`{${tag}}`, () => {})
      const call = () => this.callOracle.track('withLock', result)
      await this.attempt(`last withLock {${tag}}`, call, this.deps.finalCodes)
    }
  }

  act(): Promise<void> {
    const action = this.deps.random.pickWeighted(actionWeights)
    return this.attempt(action, () => this.#run(action))
  }

  async #run(action: keyof typeof actionWeights): Promise<void> {
    const session = this.#session
    const { random, keys } = this.deps
    const key = random.pick(keys.all)
    const tag = random.pick(keys.tags)
    const timeout = random.pick([undefined, random.int(1, 3_000)])
    const { callOracle } = this
    switch (action) {
      case 'lock': {
        const lock = session.lock(key, { timeout })
        await this.holdAndUnlock(await callOracle.track(`lock ${key}`, lock), [key])
        break
      }
      case 'tryLock': {
        const lock = session.tryLock(key)
        await this.holdAndUnlock(await callOracle.track(`tryLock ${key}`, lock), [key])
        break
      }
      case 'withLock':
        await callOracle.track(
          `withLock ${key}`,
          session.withLock(key, (lock) => this.#hold(lock, [key]), { timeout }),
        )
        break
      case 'lockAll': {
        const set = [`{${tag}}a`, `{${tag}}b`]
        const lock = session.lockAll(set, { timeout })
        await this.holdAndUnlock(await callOracle.track(`lockAll ${set}`, lock), set)
        break
      }
      case 'scope': {
        const scopeKey = `{${tag}}a`
        const run = session.scope(
          async (scope) => {
            await this.holdAndUnlock(await scope.lock(scopeKey, { timeout: 2_000 }), [scopeKey])
          },
          { tag },
        )
        await callOracle.track(`scope ${tag}`, run)
        break
      }
      case 'query':
        this.#checkQuery(await callOracle.track('query', session.query()))
        break
    }
  }

  async #hold(lock: Lock, keys: readonly string[]): Promise<void> {
    const { oracle, process, holdMs } = this.deps
    const endHold = oracle.acquired(lock, keys, process)
    await this.waitAbout(holdMs)
    endHold()
  }

  /** No program requests a shared lock, so a query of all cells lists each key at most once. */
  #checkQuery({ held }: QueryResult): void {
    const listed = new Set(held.map(({ key }) => key))
    if (listed.size < held.length)
      this.callOracle.violated('a query lists each lock once', held.map(({ key }) => key).join(' '))
  }
}

/**
 * A client with a wrong list of cells: only the broker of one cell, or the cells in another order.
 */
export class WrongProgram extends Program {
  readonly #connect: () => Promise<Session | CellSession>
  readonly #mayLock: (key: string) => boolean
  readonly #refusal: ErrorCode
  #session: Promise<Session | CellSession> | undefined
  #isOpening = false

  /**
   * @param refusal The error of a call for a key that the client must not lock.
   * @param mayLock Whether the client may lock a key.
   */
  constructor(
    deps: CellProgramDeps,
    refusal: ErrorCode,
    mayLock: (key: string) => boolean,
    connect: () => Promise<Session | CellSession>,
  ) {
    super(deps)
    this.#refusal = refusal
    this.#mayLock = mayLock
    this.#connect = connect
  }

  start(): Promise<void> {
    return Promise.resolve()
  }

  act(): Promise<void> {
    const { random, keys } = this.deps
    const key = random.pick(keys.all)
    const isAllowed = this.#mayLock(key)
    const codes = isAllowed ? callCodes : [...callCodes, this.#refusal]
    return this.attempt('lock', () => this.#lock(key, isAllowed), codes)
  }

  async close(): Promise<void> {
    const session = await this.#session?.catch(() => undefined)
    await session?.close()
  }

  async #lock(key: string, isAllowed: boolean): Promise<void> {
    const session = await this.#openSession()
    const keys = this.#keysWith(key)
    const lock = await this.callOracle.track(`lock ${keys}`, requestLock(session, keys))
    if (!isAllowed)
      this.callOracle.violated('a client with a wrong list locks no key of another cell', key)
    await this.holdAndUnlock(lock, keys)
  }

  /** The key alone, or as the second key of a set whose first key the client may lock. */
  #keysWith(key: string): readonly [string, ...string[]] {
    const { random, keys } = this.deps
    const first = keys.all.find(this.#mayLock)
    if (first === undefined || first === key || random.chance(0.5)) return [key]
    return [first, key]
  }

  /** Returns the session. Opens another session if the former is closed or could not be opened. */
  async #openSession(): Promise<Session | CellSession> {
    const current = await this.#session?.catch(() => undefined)
    if (current !== undefined && current.state !== 'closed') return current
    // Another loop of the program may be opening a session.
    if (this.#isOpening) return this.#session!
    this.#isOpening = true
    this.#session = this.callOracle.track('connect', this.#connect())
    try {
      return await this.#session
    } finally {
      this.#isOpening = false
    }
  }
}

function requestLock(
  session: Session | CellSession,
  keys: readonly [string, ...string[]],
): Promise<Lock> {
  const options = { timeout: 500 }
  return keys.length === 1 ? session.lock(keys[0], options) : session.lockAll(keys, options)
}
