/**
 * `CellSession`: the interface of a session over several cells, which are independent brokers or
 * clusters. Each call goes to the session in the cell of its key. The first call for a cell opens
 * the session of this cell.
 */
import {
  cellOfSlot,
  HoldfastError,
  isIntegerInRange,
  type LockStats,
  maxQueryItems,
  type OptionNames,
  refuseUnknownOptions,
  slotOf,
} from '@holdfast/shared'
import type { CampaignOptions, Leadership } from '../locks/leadership.js'
import type { Lock } from '../locks/lock.js'
import type { OnceOptions, Run } from '../locks/once.js'
import {
  checkLockSet,
  type LockOptions,
  type LockSetItem,
  type LockSetOptions,
  type SingleflightOptions,
  type TryLockOptions,
  type TryLockSetOptions,
} from '../locks/options.js'
import { checkScope, type Scope, type ScopeOptions } from '../locks/scope.js'
import { asyncDispose } from '../platform/callbacks.js'
import { check, checkFunction, checkKey } from '../platform/checks.js'
import type { BarrierOptions } from '../requests/barrierRequest.js'
import {
  type AnyQueryOptions,
  type AnyQueryResult,
  type BarrierQueryResult,
  checkQuery,
  checkToken,
  checkWatch,
  type KeptQueryResult,
  type QueryOptions,
  type QueryResult,
  type RecordQueryOptions,
  type RevokeOptions,
  type SessionQueryOptions,
  type SessionQueryResult,
} from '../requests/simpleRequests.js'
import { checkObserve, type Leader, type ObserveOptions } from '../session/observation.js'
import type { Session } from '../session/session.js'
import { isEventName, SessionEmitter, type SessionState } from '../session/sessionEvents.js'
import type { Watch, WatchCallback, WatchSelection } from '../session/watch.js'
import { type CellEvents, cellEventNames } from './cellEvents.js'
import { CellPool } from './cellPool.js'
import { CellTokens } from './cellTokens.js'
import {
  CellObservation,
  type CellWatchCallback,
  type CellWatchEvent,
  watchCells,
} from './cellWatch.js'
import { mergeLockResults, mergeNonLockResults, mergePages, mergeStats } from './merge.js'

/** The options of `scope` of a `CellSession`. */
export interface CellScopeOptions extends ScopeOptions {
  /**
   * The tag of all keys of the scope. The key `{order:42}:items` has the tag `order:42`, the part
   * in braces. All keys with one tag are in one cell.
   */
  readonly tag: string
}

const scopeOptionNames: OptionNames<CellScopeOptions> = { name: 1, tag: 1 }

/** The options of `sessionFor` and `sessionOfCell`, which return the session in one cell. */
export interface CellSessionOptions {
  /** If this signal is aborted before the session is open, the call rejects with `ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

const sessionOptionNames: OptionNames<CellSessionOptions> = { signal: 1 }

export interface CellSessionDeps {
  readonly name: string | undefined
  /** How many cells there are. */
  readonly count: number
  /** The token of `connect`. */
  readonly token: string | undefined
  /**
   * Opens the session of a cell.
   *
   * @param cell The number of the cell: its place in the option `cells`, from 1.
   * @param token The token of the last `authenticate`, or otherwise the token of `connect`.
   */
  open(cell: number, token: string | undefined, signal: AbortSignal): Promise<Session>
}

/**
 * A session over several cells. Each method does the same as the method of `Session` with the same
 * name. Where a method differs, its comment says so.
 */
export class CellSession extends SessionEmitter<CellEvents> {
  readonly #pool: CellPool
  /** The name that was given to `connect`. */
  readonly name: string | undefined
  /** How many cells the session has. */
  readonly cells: number
  readonly #tokens: CellTokens
  #keepsProcessAlive = true

  /** Internal. Call `connect` to make a session. */
  constructor({ name, count, token, open }: CellSessionDeps) {
    super(cellEventNames)
    this.name = name
    this.cells = count
    this.#pool = new CellPool({
      count,
      open: (cell, signal) => open(cell, /* token */ this.#tokens.onOpening(cell), signal),
      onOpen: (session, cell) => this.#onOpen(session, cell),
    })
    this.#tokens = new CellTokens(this.#pool, token)
  }

  /**
   * The first state of this list that applies:
   * - `closed`: after `close`
   * - `disconnected`: at least one of the open sessions has no connection at the moment
   * - `connecting`: no session is open, or the session of a cell is being opened
   * - `connected`: otherwise
   */
  get state(): SessionState {
    if (this.#pool.isClosed) return 'closed'
    const { openSessions, isOpening } = this.#pool
    if (openSessions.some(({ state }) => state !== 'connected')) return 'disconnected'
    return isOpening || openSessions.length === 0 ? 'connecting' : 'connected'
  }

  /**
   * The number of the cell that has a key: its place in the option `cells` of `connect`, from 1.
   * @throws HoldfastError `INVALID_KEY`
   */
  cellOf(key: string): number {
    checkKey(key)
    return cellOfSlot(slotOf(key), this.cells)
  }

  /**
   * Resolves with the session in the cell of a key. Use this session for the members that only a
   * session of one cell has: `id`, `lease`, `grace`, `leaseLeft` and `locks`. Rejects like `lock`
   * if the cell cannot be reached, and with `ABORTED` if the signal is aborted before the session
   * is open.
   */
  async sessionFor(key: string, options: CellSessionOptions = {}): Promise<Session> {
    refuseUnknownOptions('sessionFor', options, sessionOptionNames)
    return this.#pool.sessionWithSignal(this.cellOf(key), options.signal, key)
  }

  /**
   * Like `sessionFor`, but takes the number of the cell, which the events of a `CellSession` give.
   *
   * @param cell From 1 to `cells`; with another value the call rejects with `INVALID_OPTION`.
   */
  async sessionOfCell(cell: number, options: CellSessionOptions = {}): Promise<Session> {
    refuseUnknownOptions('sessionOfCell', options, sessionOptionNames)
    check(
      isIntegerInRange(cell, 1, this.cells),
      `cell must be an integer from 1 to ${this.cells}: the session has ${this.cells} cells`,
    )
    return this.#pool.sessionWithSignal(cell, options.signal)
  }

  /**
   * Like `lock` of a session, in the cell of the key. The first call for a cell also opens the
   * session of the cell. So the call may also reject with the errors of `connect`: `UNAVAILABLE` if
   * no broker of the cell answers, or `INVALID_OPTION` if the brokers belong to another cell. The
   * `timeout` begins when the session is open.
   */
  lock(key: string, options: LockOptions = {}): Promise<Lock> {
    return this.#inCellOf(key, options, (session) => session.lock(key, options))
  }

  tryLock(key: string, options: TryLockOptions = {}): Promise<Lock> {
    return this.#inCellOf(key, options, (session) => session.tryLock(key, options))
  }

  withLock<T>(
    key: string,
    callback: (lock: Lock) => T | PromiseLike<T>,
    options: LockOptions = {},
  ): Promise<T> {
    return this.#inCellOf(key, options, (session) => session.withLock(key, callback, options))
  }

  /**
   * Like `singleflightLock` of a session: callers of this session that ask for one key at the same
   * time share one request and one lock.
   */
  singleflightLock(key: string, options: SingleflightOptions = {}): Promise<Lock> {
    return this.#inCellOf(key, options, (session) => session.singleflightLock(key, options))
  }

  /**
   * Like `lockAll` of a session. All keys must have the same slot, the hash that determines the
   * cell of a key. Keys with the same tag in braces, such as `{order:42}`, have the same slot. If
   * the slots differ, rejects with `INVALID_OPTION`, even if the keys are in one cell now. A later
   * change of the number of cells could separate such keys.
   */
  async lockAll(keys: readonly LockSetItem[], options: LockSetOptions = {}): Promise<Lock> {
    const key = checkedFirstKey('lockAll', keys, options)
    return this.#inCellOf(key, options, (session) => session.lockAll(keys, options))
  }

  async tryLockAll(keys: readonly LockSetItem[], options: TryLockSetOptions = {}): Promise<Lock> {
    const key = checkedFirstKey('tryLockAll', keys, options)
    return this.#inCellOf(key, options, (session) => session.tryLockAll(keys, options))
  }

  async withLockAll<T>(
    keys: readonly LockSetItem[],
    callback: (lock: Lock) => T | PromiseLike<T>,
    options: LockSetOptions = {},
  ): Promise<T> {
    const key = checkedFirstKey('withLockAll', keys, options)
    return this.#inCellOf(key, options, (session) => session.withLockAll(keys, callback, options))
  }

  /**
   * With the name of an event and without options, calls the listener at the next such event.
   * Otherwise runs a function once for all callers with this key: see `once` of a session.
   */
  override once<E extends keyof CellEvents>(event: E, listener: CellEvents[E]): this
  override once<T>(
    key: string,
    callback: (run: Run) => T | PromiseLike<T>,
    options?: OnceOptions,
  ): Promise<T>
  override once(name: string, callback: (...details: never) => unknown, options?: OnceOptions) {
    if (options === undefined && isEventName(name, cellEventNames)) {
      return super.once(name as keyof CellEvents, callback as () => void)
    }
    const callbackOfRun = callback as () => unknown
    // The call always passes options, so that `session.once` treats each name as a key. Without
    // options, `session.once` would add a listener for `disconnected`, an event of `Session` only.
    return this.#inCellOf(name, options, (session) =>
      session.once(name, callbackOfRun, options ?? {}),
    )
  }

  campaign(name: string, options: CampaignOptions = {}): Promise<Leadership> {
    return this.#inCellOf(name, options, (session) => session.campaign(name, options))
  }

  /** @throws HoldfastError `INVALID_KEY`, `INVALID_OPTION`, `SESSION_CLOSED` */
  observe(name: string, options: ObserveOptions = {}): AsyncIterableIterator<Leader | undefined> {
    checkObserve(name, options)
    this.#throwIfClosed()
    return new CellObservation(
      () => this.#pool.sessionWithSignal(this.cellOf(name), options.signal, name),
      (session) => session.observe(name, options),
    )
  }

  barrier(key: string, options: BarrierOptions): Promise<void> {
    return this.#inCellOf(key, options, (session) => session.barrier(key, options))
  }

  /**
   * Like `scope` of a session, in the cell of the tag. For a key of another cell, the call in the
   * scope rejects with `INVALID_KEY`. Brokers find deadlocks only between scopes of the same cell.
   */
  async scope<T>(
    callback: (scope: Scope) => T | PromiseLike<T>,
    options: CellScopeOptions,
  ): Promise<T> {
    check(options !== undefined, 'scope of a session with several cells needs the option tag')
    refuseUnknownOptions('scope', options, scopeOptionNames)
    const { tag, name } = options
    checkScope(callback, { name })
    check(typeof tag === 'string' && !/[{}]/.test(tag), 'tag must be a text without { and }')
    // The tag serves as a key here. A key with a tag has the slot of its tag, so all keys of the
    // scope are in the cell of this key.
    return this.#inCellOf(tag, undefined, (session) => session.scope(callback, { name }))
  }

  /**
   * Like `query` of a session. Without a `key`, asks all cells, and merges their answers into one
   * answer with at most `limit` items in each list. The items are in the order of keys if `after`
   * is given, and otherwise cell by cell. Rejects if a cell cannot be reached.
   */
  async query(options?: QueryOptions): Promise<QueryResult>
  async query(options: RecordQueryOptions<'barriers'>): Promise<BarrierQueryResult>
  async query(options: RecordQueryOptions<'results'>): Promise<KeptQueryResult>
  async query(options: SessionQueryOptions): Promise<SessionQueryResult>
  async query(options: AnyQueryOptions = {}): Promise<AnyQueryResult> {
    const { key, limit = maxQueryItems, after, kind = 'locks' } = checkQuery(options)
    if (key !== undefined)
      return this.#inCellOf(key, undefined, (session) => queryCell(session, options))
    const { afterFence, ...optionsWithoutFence } = options
    // With `afterFence`, the page begins with the locks of the key `after` that the previous page
    // left out. Only the cell of this key gets `afterFence`, because no other cell has its locks.
    // `checkQuery` refuses `afterFence` without `after`, so `after` is a text here.
    const cellOfAfter = afterFence === undefined ? undefined : this.cellOf(after as string)
    const answers = await this.#pool.inAllCells((session, cell) =>
      queryCell(session, cell === cellOfAfter ? options : optionsWithoutFence),
    )
    if (kind !== 'locks') return mergeNonLockResults(answers, kind, limit) as AnyQueryResult
    const merged =
      after === undefined ? mergeLockResults(answers, limit) : mergePages(answers, limit)
    return merged as AnyQueryResult
  }

  /**
   * Like `watch` of a session. Without a `key`, watches all cells. Each event `state` then has the
   * number of one cell, and lists only keys of this cell.
   * @throws HoldfastError `INVALID_KEY`, `INVALID_OPTION`, `SESSION_CLOSED`
   */
  watch<HasQueue extends boolean = false>(
    selection: WatchSelection<HasQueue>,
    callback: WatchCallback<HasQueue, CellWatchEvent>,
  ): Watch {
    const options = checkWatch(selection)
    checkFunction('callback', callback)
    this.#throwIfClosed()
    const { cellNumbers } = this.#pool
    const selectedCells = options.key === undefined ? cellNumbers : [this.cellOf(options.key)]
    return watchCells(this.#pool, selectedCells, options, callback as CellWatchCallback)
  }

  revoke(key: string, options: RevokeOptions): Promise<void> {
    return this.#inCellOf(key, undefined, (session) => session.revoke(key, options))
  }

  /**
   * Sends a new token to all cells whose sessions are open. Rejects with the first error if one or
   * more of these cells refuse the token. The calls of `authenticate` run one after another.
   *
   * Sessions that are being opened or are opened later use the new token too, unless all cells with
   * open sessions have refused the token.
   */
  async authenticate(token: string): Promise<void> {
    checkToken(token)
    this.#throwIfClosed()
    return this.#tokens.authenticate(token)
  }

  /** Returns the counters of all cells together. Rejects if a cell cannot be reached. */
  async stats(): Promise<LockStats> {
    return mergeStats(await this.#pool.inAllCells((session) => session.stats()))
  }

  /** Ends the sessions of all cells, as `close` of a session does. Never rejects. */
  async close(): Promise<void> {
    const isFirst = !this.#pool.isClosed
    await this.#pool.close()
    if (isFirst) this.emit('closed', undefined)
  }

  /** Lets a Node process end although sessions are open; see `unref` of a session. */
  unref(): this {
    return this.#setKeepsProcessAlive(false)
  }

  /** Undoes `unref`. */
  ref(): this {
    return this.#setKeepsProcessAlive(true)
  }

  /** Calls `close`. */
  [asyncDispose](): Promise<void> {
    return this.close()
  }

  #setKeepsProcessAlive(keepAlive: boolean): this {
    this.#keepsProcessAlive = keepAlive
    for (const session of this.#pool.openSessions) {
      if (keepAlive) session.ref()
      else session.unref()
    }
    return this
  }

  /**
   * Prepares a new session of a cell: applies `unref` and a newer token, and emits the session's
   * events as events of this object (see `CellEvents`).
   */
  #onOpen(session: Session, cell: number): void {
    if (!this.#keepsProcessAlive) session.unref()
    void this.#tokens.onOpen(session, cell)
    session.on('jeopardy', (error) => this.emit('jeopardy', error, cell))
    session.on('resumed', () => this.emit('resumed', cell))
    session.on('newSession', () => this.emit('newSession', cell))
    session.on('lost', (lock) => this.emit('lost', lock, cell))
    session.on('draining', (event) => this.emit('draining', event, cell))
    session.on('expiring', (event) => this.emit('expiring', event, cell))
    session.on('closed', (error) => {
      if (error !== undefined) this.emit('cellClosed', error, cell)
    })
  }

  /** Calls `call` with the session in the cell of `key`; opens this session if necessary. */
  async #inCellOf<T>(
    key: string,
    options: { readonly signal?: AbortSignal | undefined } | undefined,
    call: (session: Session) => Promise<T>,
  ): Promise<T> {
    return call(await this.#pool.sessionWithSignal(this.cellOf(key), options?.signal, key))
  }

  #throwIfClosed(): void {
    if (this.#pool.isClosed) throw new HoldfastError('SESSION_CLOSED')
  }
}

/**
 * Checks that all keys of a set have the same slot, and returns the first key. The slot of a key
 * determines its cell.
 * @throws HoldfastError `INVALID_OPTION` if the slots differ, and the errors of `lockAll`
 */
function checkedFirstKey(
  method: string,
  keys: readonly LockSetItem[],
  options: LockSetOptions,
): string {
  const { key, special } = checkLockSet(keys, options, method).params
  // `key` is the first key. The items of the set, with all its keys, are in `special.items`.
  const strayItem = special!.items!.find((item) => slotOf(item.key) !== slotOf(key))
  check(
    strayItem === undefined,
    `the keys ${JSON.stringify(key)} and ${JSON.stringify(strayItem?.key)} of ${method} may be in ` +
      'different cells: give all keys the same tag, such as {order:42}',
  )
  return key
}

/** Queries one cell. The fields of the result depend on the kind of the query. */
function queryCell(session: Session, options: AnyQueryOptions): Promise<AnyQueryResult> {
  return session.query(options as QueryOptions) as Promise<AnyQueryResult>
}
