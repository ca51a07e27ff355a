/**
 * Handles messages of clients. Checks the permission and the limits of a message. Then the handler
 * of the message in `messageHandlers.ts` makes a command, which changes the lock table, or answers
 * at once. The field `adds` of a handler says what the message adds to the memory of the broker: a
 * lock, a value or a watch. For a call at a barrier, `adds` is `lock`.
 */
import {
  type Cell,
  cellOfSlot,
  closeCodes,
  type LockItem,
  type LockRequest,
  slotOf,
} from '@holdfast/shared'
import type { TokenExpiry } from '../access/tokenExpiry.js'
import { type BrokerLimits, type LimitName, limitMessage, limitReason } from '../config/limits.js'
import { costOfDeadlines, costs } from '../config/workCosts.js'
import type { Connection } from '../connection/connection.js'
import type { InvalidRequest } from '../connection/connectionDeps.js'
import type { Command, Session } from '../core/index.js'
import type { Membership } from '../log/log.js'
import { type Observer, type RefusalNotice, refusalCauseOf } from '../observability/observer.js'
import { encodeFailed } from '../protocol/encodeAnswers.js'
import { endIdleLease } from './heartbeat.js'
import type { MemoryAccount } from './memoryAccount.js'
import {
  type AnswerContext,
  handlerOf,
  type MessageHandler,
  type SessionMessage,
} from './messageHandlers.js'
import type { LiveTable, Statistics } from './statistics.js'
import type { WatchRegistry } from './watchRegistry.js'
import { mayNeedWholeTurn, stealEndsAtLeast } from './wholeTurns.js'

export interface InboundDeps {
  readonly log: { submit(command: Command): void }
  readonly clock: { wall(): number }
  readonly liveTable: LiveTable
  readonly statistics: Statistics
  readonly watchRegistry: WatchRegistry
  readonly limits: BrokerLimits
  readonly memory: Pick<MemoryAccount, 'isFull'>
  /** The cell (one part of the keys) that this broker serves; undefined if it serves all keys. */
  readonly cell: Cell | undefined
  /** Undefined unless several brokers share the log. */
  readonly membership: Membership | undefined
  readonly observer: Observer | undefined
  readonly tokenExpiry: Pick<TokenExpiry, 'renew'>
  readonly time: AnswerContext['time']
  readonly lockTimes: AnswerContext['lockTimes']
  readonly attached: AnswerContext['attached']
}

export class Inbound {
  readonly #deps: InboundDeps
  readonly #context: AnswerContext
  #isDraining = false
  /** The connections for which `#confirmWelcome` has submitted a `confirm` command. */
  readonly #confirmedConnections = new WeakSet<Connection>()

  constructor(deps: InboundDeps) {
    this.#deps = deps
    this.#context = { ...deps, report: this.#report.bind(this) }
  }

  /**
   * Refuses new lock requests and new calls at barriers from now on, unless another broker can take
   * over the session.
   */
  startDraining(): void {
    this.#isDraining = true
  }

  /**
   * Handles a message of a session. The type `refusal` marks an invalid message, which gets the
   * answer `failed`.
   */
  handle(connection: Connection, message: SessionMessage | InvalidRequest): void {
    const { membership, observer, log, clock } = this.#deps
    // This call comes before the checks, because a valid message that a check refuses also shows
    // that the client has read the `welcome`.
    if (connection.session!.nextSecret !== undefined) this.#confirmWelcome(connection, message)
    if (membership !== undefined && !this.#logAccepts(membership, connection, message)) return
    if (message.type !== 'refusal') observer?.onMessage(message.type)
    if (connection.policy !== undefined && !this.#isAllowed(connection, message)) return
    if (message.type === 'refusal') {
      connection.send(encodeFailed(message.id, message.code, message.message))
      return
    }
    const handler = handlerOf(message)
    if (handler.adds !== undefined && this.#refuseAddition(handler, connection, message)) return
    if (message.type === 'lock' && message.steal && this.#refuseSteal(connection, message)) return
    if (this.#deps.cell !== undefined && handler.adds === 'lock') {
      if (this.#refuseOtherCell(this.#deps.cell, connection, message)) return
    }
    if (handler.adds === 'lock') {
      // Charges for the timers of the timeout, the ttl and the `maxHold`.
      connection.charge(costOfDeadlines(message as LockRequest))
      // The idle lease is a longer lease that only a session without locks and requests may have.
      if (connection.hasIdleLease) endIdleLease(this.#deps.time, connection)
    }
    if (handler.command === undefined) handler.answer?.(this.#context, connection, message)
    else log.submit(handler.command(connection, message, clock.wall()))
  }

  /**
   * A valid message shows that the client has read the newest `welcome`, which has a new secret for
   * resuming the session. The `confirm` command then invalidates the former secret. `ack` and `bye`
   * need no `confirm`, because their own commands invalidate the former secret as well.
   */
  #confirmWelcome(connection: Connection, { type }: SessionMessage | InvalidRequest): void {
    if (type === 'refusal' || type === 'ack' || type === 'bye') return
    if (this.#confirmedConnections.has(connection)) return
    this.#confirmedConnections.add(connection)
    const { log, clock } = this.#deps
    const { session, attachEpoch } = connection
    log.submit({ type: 'confirm', session: session!.id, attachEpoch, at: clock.wall() })
  }

  /**
   * Whether the broker may need a whole turn of the event loop to handle this message.
   *
   * @param parsedMessage The message as parsed from JSON, not validated yet.
   */
  mayNeedWholeTurn({ session }: Connection, parsedMessage: unknown): boolean {
    const { current } = this.#deps.liveTable
    return session !== undefined && mayNeedWholeTurn(session, parsedMessage, current)
  }

  /**
   * Whether the load of the shared log allows this message. If not, answers with `failed`, or
   * closes the connection. The load is high if many commands wait for the log, for instance while
   * the log is unreachable.
   */
  #logAccepts(
    { load }: Membership,
    connection: Connection,
    message: SessionMessage | InvalidRequest,
  ): boolean {
    if (load === 'disconnect') {
      connection.abort(closeCodes.overloaded)
      return false
    }
    if (load === 'ok' || !('id' in message) || !typesRefusedUnderLoad.has(message.type)) return true
    connection.send(
      encodeFailed(
        message.id,
        'UNAVAILABLE',
        'the command log is slow or unreachable; try again later',
      ),
    )
    return false
  }

  /**
   * Whether the policy allows this message. If not, answers with `failed`, or closes the
   * connection.
   */
  #isAllowed(connection: Connection, message: SessionMessage | InvalidRequest): boolean {
    const policy = connection.policy!
    const isWithinRate = policy.countMessage(connection.acks.messageArrivedAt)
    if (!isWithinRate) {
      const limitValue = this.#deps.limits.messagesPerSecond
      this.#report(connection, { cause: 'messages_per_second' })
      connection.abort({
        ...closeCodes.quota,
        reason: limitReason('messagesPerSecond', limitValue),
      })
      return false
    }
    if (message.type === 'refusal') return true
    const denial = handlerOf(message).check?.(policy, message, connection)
    if (denial === undefined) return true
    const { id, key } = message as { readonly id: number; readonly key?: string | undefined }
    connection.send(encodeFailed(id, denial.code, denial.message))
    const { limit } = denial
    const cause = limit === undefined ? 'forbidden' : refusalCauseOf(limit)
    this.#report(connection, { cause, operation: message.type, key })
    return false
  }

  /**
   * If the memory of the broker is full, refuses a message that adds a lock, a value or a watch.
   * While the broker drains, also refuses a message that adds a lock (or a call at a barrier),
   * unless another broker can take over the session. Returns whether the message is refused.
   */
  #refuseAddition(
    { adds }: MessageHandler<SessionMessage>,
    connection: Connection,
    message: SessionMessage,
  ): boolean {
    const { id, key } = message as Pick<LockRequest, 'id'> & { readonly key?: string | undefined }
    const session = connection.session!
    // Request ids rise, so an id up to `lastId` is the id of a repeated request. This request adds
    // nothing: the lock table repeats its stored answer, or the request still waits. A `watch` has
    // no stored answer, so even a repeated `watch` starts a search.
    const isRepeated = adds !== 'watch' && id <= session.lastId
    if (this.#deps.memory.isFull && !isRepeated) {
      this.#refuseByLimit('memoryBytes', connection, { id, operation: message.type, key })
      return true
    }
    if (!this.#isDraining || adds !== 'lock' || isRepeated) return false
    if (canFailOver(session, this.#deps.membership)) return false
    connection.send(encodeFailed(id, 'UNAVAILABLE', 'the broker is stopping; try again later'))
    return true
  }

  /**
   * Refuses a request with `steal` if the steal would end more locks than the limit allows. Returns
   * whether the request is refused.
   */
  #refuseSteal(connection: Connection, { id, key }: LockRequest): boolean {
    const keyState = this.#deps.liveTable.current.keys.get(key)
    const { stolenLocks } = this.#deps.limits
    // A repeated request steals nothing.
    const isRepeated = id <= connection.session!.lastId
    if (keyState === undefined || isRepeated) return false
    // A steal may end as many locks as the limit says, and not one more.
    if (!stealEndsAtLeast(keyState, stolenLocks + 1)) return false
    this.#refuseByLimit('stolenLocks', connection, { id, operation: 'lock', key })
    return true
  }

  /**
   * Refuses a request for a key of another cell. Returns whether the request is refused. The check
   * is necessary, because a client may have a wrong list of cells. This client could otherwise lock
   * a key here that another client holds at a broker of the right cell.
   */
  #refuseOtherCell(
    { number, count }: Cell,
    connection: Connection,
    message: SessionMessage,
  ): boolean {
    const { id, key, items } = message as {
      readonly id: number
      readonly key: string
      readonly items?: readonly LockItem[] | undefined
    }
    for (const item of items ?? [{ key }]) {
      const cellOfKey = cellOfSlot(slotOf(item.key), count)
      if (cellOfKey === number) continue
      const errorMessage = `the key belongs to cell ${cellOfKey} of ${count}, and this broker serves cell ${number}`
      connection.send(encodeFailed(id, 'INVALID_KEY', errorMessage))
      this.#report(connection, { cause: 'cell', operation: message.type, key: item.key })
      return true
    }
    return false
  }

  /** Answers a request that exceeds a limit with `QUOTA_EXCEEDED`, and reports the refusal. */
  #refuseByLimit(
    limit: LimitName,
    connection: Connection,
    request: { readonly id: number } & Pick<RefusalNotice, 'operation' | 'key'>,
  ): void {
    const { id, ...notice } = request
    const errorMessage = limitMessage(limit, this.#deps.limits[limit])
    connection.send(encodeFailed(id, 'QUOTA_EXCEEDED', errorMessage))
    this.#report(connection, { cause: refusalCauseOf(limit), ...notice })
  }

  #report(connection: Connection, notice: RefusalNotice): void {
    connection.charge(costs.report)
    this.#deps.observer?.onRefused({
      ...notice,
      remoteAddress: connection.remoteAddress,
      session: connection.session?.id,
      principal: connection.session?.principal,
    })
  }
}

/**
 * The requests that the broker refuses while too many commands wait for the shared log. These
 * requests ask for a lock or the result of a `once`, set the value of a leader, or call at a
 * barrier.
 */
const typesRefusedUnderLoad: ReadonlySet<string> = new Set([
  'lock',
  'lockAll',
  'campaign',
  'proclaim',
  'once',
  'barrier',
])

/**
 * Whether another broker can take over this session with all its locks. The session must have a
 * grace, in which its client can reconnect. At least one other broker must share the log.
 */
export function canFailOver({ grace }: Session, membership: Membership | undefined): boolean {
  return grace > 0 && membership !== undefined && membership.status.members.length > 1
}
