/**
 * An oracle (a check of a simulated run) of what the caller of a client method observes. The call
 * settles in time, with a result or a documented error, and immediately when the caller aborts the
 * call.
 */
import { type ErrorCode, HoldfastError, type Timer } from '@holdfast/shared'
import type { Oracles } from './oracles.js'
import type { SimProcess } from './simProcess.js'

/**
 * How much later than its timeout a request may settle, in ms. Only the time in which the process
 * of the caller ran counts.
 */
export const lateToleranceMs = 3_000
/**
 * The earliest time at which a request may time out, as a factor of its timeout. The factor
 * allows for clocks that are wrong by 1 %, and has a margin.
 */
const minTimeoutFactor = 0.975
/** A timeout may come earlier by this many ms, because client and broker round to whole ms. */
const earlyToleranceMs = 5

/** The errors with which a lock request may fail. */
const failureCodes: ReadonlySet<ErrorCode> = new Set([
  'LOCK_HELD',
  'LOCK_TIMEOUT',
  'LOCK_LOST',
  'ABORTED',
  'CAPACITY_MISMATCH',
  'SESSION_CLOSED',
  'SESSION_EXPIRED',
  'UNAVAILABLE',
])
/** The error codes of a lost lock or session. */
const lossCodes: readonly ErrorCode[] = [
  'LOCK_NOT_HELD',
  'LOCK_LOST',
  'SESSION_CLOSED',
  'SESSION_EXPIRED',
]

/** The options of one lock request. */
export interface LockRequest {
  mode?: 'exclusive' | 'shared'
  permits?: number
  capacity?: number
  ttl?: number
  timeout?: number
  maxHold?: number
  onQueued?: () => void
  onContended?: () => void
  signal?: AbortSignal
  steal?: boolean
  /**
   * `op` is the unique name of the request. `joinable` is set if other callers may wait for the
   * same request.
   */
  metadata: { op: string; joinable?: boolean }
  /** Aborts `signal`; not an option of the client. */
  abortTimer?: Timer
}

/** When a call began. */
export interface CallStart {
  /**
   * How long the process of the caller had run, in ms. Lateness is measured in this time because a
   * stopped process cannot settle a call.
   */
  readonly ranFor: number
  /**
   * World time (time of the simulation), in ms. Earliness is measured in this time because a stop
   * does not excuse an early timeout.
   */
  readonly at: number
}

/** What `CallOracle` uses of all oracles together. */
export type CallObserver = Pick<Oracles, 'trace' | 'report' | 'now' | 'violated' | 'requestFailed'>

export class CallOracle {
  readonly #process: SimProcess
  readonly #oracles: CallObserver
  readonly #unsettledCalls = new Set<string>()
  #callCount = 0

  constructor(process: SimProcess, oracles: CallObserver) {
    this.#process = process
    this.#oracles = oracles
  }

  /** The calls that have not settled, as text. */
  get unsettled(): string {
    return [...this.#unsettledCalls].join(', ')
  }

  start(): CallStart {
    return { ranFor: this.#process.ranFor, at: this.#oracles.now }
  }

  trace(line: string): void {
    this.#oracles.trace.add(this.#process.name, line)
  }

  count(name: string): void {
    this.#oracles.report.count(name)
  }

  violated(rule: string, detail: string): void {
    this.#oracles.violated(rule, `${this.#process.name}: ${detail}`)
  }

  /** Records a call until it settles. */
  async track<T>(call: string, promise: Promise<T>): Promise<T> {
    const name = `${call} (${++this.#callCount})`
    this.#unsettledCalls.add(name)
    this.trace(`calls ${name}`)
    try {
      const result = await promise
      this.trace(`got ${name}`)
      return result
    } catch (error) {
      this.trace(`failed ${name} ${error instanceof HoldfastError ? error.code : error}`)
      throw error
    } finally {
      this.#unsettledCalls.delete(name)
    }
  }

  /**
   * Checks that an aborted request settles in the same turn (run of the event loop) as the abort.
   */
  watchAbort({ signal, metadata }: LockRequest, isSettled: () => boolean): void {
    signal?.addEventListener('abort', () => {
      // The process runs this check in its next turn, after the whole turn of the abort.
      this.#process.receive(() => {
        if (!isSettled()) this.violated('an abort settles the request immediately', metadata.op)
      })
    })
  }

  /** Checks the error of a failed lock request. */
  checkFailure(error: unknown, request: LockRequest, start: CallStart): void {
    this.expect(error, failureCodes, 'lock')
    if (!(error instanceof HoldfastError)) return
    this.count(`refused ${error.code}`)
    if (request.metadata.joinable !== true) this.#oracles.requestFailed(request.metadata)
    // The simulated callers abort with the name of the request as the reason.
    if (error.code === 'ABORTED' && error.cause !== request.metadata.op) {
      this.violated('ABORTED has the reason of the abort as its cause', String(error.cause))
    }
    this.checkEarlyTimeout(error, request, start)
    this.checkSettledInTime(request, start)
  }

  /** Checks that a request did not time out before its timeout. */
  checkEarlyTimeout({ code }: HoldfastError, { timeout = 0 }: LockRequest, start: CallStart): void {
    const elapsed = this.#oracles.now - start.at
    if (code === 'LOCK_TIMEOUT' && elapsed < timeout * minTimeoutFactor - earlyToleranceMs)
      this.violated('a request does not time out early', `${elapsed} of ${timeout} ms`)
  }

  /** Checks that a request settled within its timeout. Counts the time that its process ran. */
  checkSettledInTime({ timeout, metadata }: LockRequest, start: CallStart): void {
    // A request without a timeout may wait for ever. A request with the timeout 0 does not wait for
    // the lock, but may wait for ever until the broker is reachable.
    if (timeout === undefined || timeout === 0) return
    const ran = this.#process.ranFor - start.ranFor
    if (ran > timeout + lateToleranceMs) {
      this.violated(
        'a request settles within its timeout',
        `${metadata.op}: ${ran} of ${timeout} ms`,
      )
    }
  }

  /** Checks that the error is the loss of a lock or session, or has one of these codes. */
  expectLoss(error: unknown, call: string, ...otherCodes: ErrorCode[]): void {
    this.expect(error, new Set([...lossCodes, ...otherCodes]), call)
  }

  /** Checks that the error is a `HoldfastError` with one of these codes. */
  expect(error: unknown, codes: ReadonlySet<ErrorCode>, call: string): void {
    if (error instanceof HoldfastError && codes.has(error.code)) return
    const code = error instanceof HoldfastError ? error.code : 'not a HoldfastError'
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.violated('a method rejects only with documented errors', `${call}: ${code} ${text}`)
  }
}
