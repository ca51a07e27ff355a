/**
 * What a caller may claim of the client's methods: that they settle in time, with a documented
 * error or with what was asked for, and at once when aborted.
 */
import { type ErrorCode, HoldfastError, type Timer } from '@holdfast/shared'
import type { Oracles } from './oracles.js'
import type { SimProcess } from './process.js'

/** How much later than its timeout a request may settle, in ms that its process ran for. */
export const timeoutRoomMs = 3_000
/** Clocks that differ by 1 % each, and timers that come 1 ms early. */
const earlyRoom = 0.975

/** What a request for a lock may be told when it comes to nothing. */
const refusals: ReadonlySet<ErrorCode> = new Set([
  'LOCK_HELD',
  'LOCK_TIMEOUT',
  'LOCK_LOST',
  'ABORTED',
  'SESSION_CLOSED',
  'SESSION_EXPIRED',
  'UNAVAILABLE',
])
const losses: readonly ErrorCode[] = [
  'LOCK_NOT_HELD',
  'LOCK_LOST',
  'SESSION_CLOSED',
  'SESSION_EXPIRED',
]

/** What is asked of a request for a lock. */
export interface Want {
  mode?: 'exclusive' | 'shared'
  ttl?: number
  timeout?: number
  signal?: AbortSignal
  steal?: boolean
  /** `isShared`: the request may be others' too, who still want it. */
  metadata: { op: string; isShared?: boolean }
  /** Ours: when the signal is to be aborted. */
  abortTimer?: Timer
}

/** When something was asked for. */
export interface Start {
  /** In time that its process ran for: being late is not the fault of who was stopped. */
  readonly ranFor: number
  /** In world time: being early is not excused by a stop. */
  readonly at: number
}

export class Claims {
  readonly #process: SimProcess
  readonly #judges: Oracles
  readonly #open = new Set<string>()
  #asked = 0

  constructor(process: SimProcess, judges: Oracles) {
    this.#process = process
    this.#judges = judges
  }

  /** What was asked and is not settled. */
  get unsettled(): string {
    return [...this.#open].join(', ')
  }

  start(): Start {
    return { ranFor: this.#process.ranFor, at: this.#judges.now }
  }

  note(what: string): void {
    this.#judges.trace.add(this.#process.name, what)
  }

  count(what: string): void {
    this.#judges.verdict.count(what)
  }

  broken(rule: string, detail: string): void {
    this.#judges.broken(rule, `${this.#process.name}: ${detail}`)
  }

  /** Keeps book of something that has to settle. */
  async attempt<T>(what: string, promise: Promise<T>): Promise<T> {
    const name = `${what} (${++this.#asked})`
    this.#open.add(name)
    this.note(`asks ${name}`)
    try {
      const result = await promise
      this.note(`got ${name}`)
      return result
    } catch (error) {
      this.note(`failed ${name} ${error instanceof HoldfastError ? error.code : error}`)
      throw error
    } finally {
      this.#open.delete(name)
    }
  }

  /** An abort is settled for the caller in the same turn. */
  watchAbort({ signal, metadata }: Want, isSettled: () => boolean): void {
    signal?.addEventListener('abort', () => {
      this.#process.receive(() => {
        if (!isSettled()) this.broken('an abort settles at once', metadata.op)
      })
    })
  }

  /** A request for a lock came to nothing. */
  judgeRefusal(error: unknown, want: Want, start: Start): void {
    this.expect(error, refusals, 'lock')
    if (!(error instanceof HoldfastError)) return
    this.count(`refused ${error.code}`)
    if (want.metadata.isShared !== true) this.#judges.gaveUp(want.metadata)
    if (error.code === 'ABORTED' && error.cause !== want.metadata.op) {
      this.broken('ABORTED carries the reason', String(error.cause))
    }
    const took = this.#judges.now - start.at
    if (error.code === 'LOCK_TIMEOUT' && took < (want.timeout ?? 0) * earlyRoom - 5) {
      this.broken('no timeout comes early', `${took} of ${want.timeout} ms`)
    }
    this.judgeTime(want, start)
  }

  judgeTime({ timeout, metadata }: Want, start: Start): void {
    // Who does not wait is told as soon as the broker can be asked, however far that is.
    if (timeout === undefined || timeout === 0) return
    const ran = this.#process.ranFor - start.ranFor
    if (ran > timeout + timeoutRoomMs) {
      this.broken('a timeout is kept', `${metadata.op}: ${ran} of ${timeout} ms`)
    }
  }

  expectLoss(error: unknown, what: string, ...more: ErrorCode[]): void {
    this.expect(error, new Set([...losses, ...more]), what)
  }

  expect(error: unknown, codes: ReadonlySet<ErrorCode>, what: string): void {
    if (error instanceof HoldfastError && codes.has(error.code)) return
    const code = error instanceof HoldfastError ? error.code : 'not a HoldfastError'
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.broken('errors are documented', `${what}: ${code} ${text}`)
  }
}
