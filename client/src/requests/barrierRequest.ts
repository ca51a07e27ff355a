/**
 * The call at a barrier, and the check of its options. Calls gather at a barrier until
 * `parties` calls wait; then the broker answers all of them in one step.
 */
import { HoldfastError, maxParties, type OptionNames, refuseUnknownOptions } from '@holdfast/shared'
import { check, checkInteger, checkKey, checkMs, checkSignal } from '../platform/checks.js'
import type { Scheduler } from '../platform/scheduler.js'
import { messageText } from '../transport/messages.js'
import { Request, type TimeoutListener } from './requests.js'

/** The options of `session.barrier`. */
export interface BarrierOptions {
  /** How many calls pass the barrier together, 2 to 1,000. All calls must have the same number. */
  readonly parties: number
  /**
   * After this time, in ms, the call is rejected with `LOCK_TIMEOUT` and is not counted any more.
   * With 0, the call passes only if it is the last party. Default: the call waits for ever.
   */
  readonly timeout?: number | undefined
  /** When aborted, the call is rejected with `ABORTED` and is not counted any more. */
  readonly signal?: AbortSignal | undefined
}

/** The names of all options; the value 1 has no meaning. */
const barrierOptionNames: OptionNames<BarrierOptions> = { parties: 1, timeout: 1, signal: 1 }

/** @throws HoldfastError `INVALID_KEY`, `INVALID_TIMEOUT` or `INVALID_OPTION` */
export function checkBarrier(key: unknown, options: BarrierOptions): BarrierOptions {
  checkKey(key)
  check(options !== undefined, 'barrier needs the option parties')
  refuseUnknownOptions('barrier', options, barrierOptionNames)
  const { parties, timeout, signal } = options
  // A barrier with one party would delay no call.
  checkInteger('parties', parties, 2, maxParties)
  if (timeout !== undefined) checkMs('timeout', timeout, 0, 'INVALID_TIMEOUT')
  checkSignal(signal)
  return { parties, timeout, signal }
}

/** A call that waits at a barrier. */
export class BarrierRequest extends Request<void> {
  readonly brokerStoresResponse = true
  readonly responseType = 'passed'
  readonly key: string
  declare readonly timeout: number | undefined
  declare readonly dueAt: number | undefined
  readonly #parties: number
  readonly #timeoutListener: TimeoutListener

  constructor(
    key: string,
    { parties, timeout }: BarrierOptions,
    dueAt: number | undefined,
    timeoutListener: TimeoutListener,
  ) {
    super()
    this.key = key
    this.timeout = timeout
    this.dueAt = dueAt
    this.#parties = parties
    this.#timeoutListener = timeoutListener
  }

  text(scheduler: Scheduler): string {
    const { id, key } = this
    const timeout = this.timeoutLeft(scheduler)
    return messageText('barrier', { id, key, parties: this.#parties, timeout })
  }

  /** Returns true, because the request is complete. */
  onResponse(): boolean {
    this.resolve()
    return true
  }

  /**
   * Rejects a call that was sent, because the call may have passed the barrier before the session
   * ended. If the next session sent such a call again, the call would count a second time, for
   * later calls at this barrier. Returns false for a call that was not sent yet, because the next
   * session must send this call.
   */
  override onSessionEnded(_message: string, error?: HoldfastError): boolean {
    if (this.sentOn === undefined) return false
    const message = 'the session ended; the call that waited at the barrier may have passed'
    this.fail(error ?? new HoldfastError('SESSION_EXPIRED', message))
    return true
  }

  /** The scheduler calls this method when the timeout has passed. */
  override onDue(): void {
    this.#timeoutListener.onTimeout(this)
  }
}
