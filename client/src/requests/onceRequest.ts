/**
 * The requests of `session.once`. A run is one call of the function that a caller passes to `once`.
 * The session holds a lock during each run. The broker answers a `OnceRequest` with the lock for a
 * run, or with the value of another caller's run. `CompleteRequest` ends a run. The interfaces
 * with the same names in the package `shared` are the messages that these classes send.
 */
import { HoldfastError, type Result } from '@holdfast/shared'
import { type Completion, completeText } from '../transport/messages.js'
import { LockRequest, type Response, UnlockRequest } from './requests.js'

/** Resolves with an `L`, which is the lock for a run, or with the value of another caller's run. */
export class OnceRequest<L = unknown> extends LockRequest<L | Result> {
  protected override isAnsweredBy(type: Response['type']): boolean {
    return type === 'result' || super.isAnsweredBy(type)
  }

  override onResponse(response: Response, isResuming: boolean): boolean {
    if (response.type !== 'result') return super.onResponse(response, isResuming)
    this.resolve(response)
    return true
  }
}

/** Unlocks the lock of a run, and gives the value of the run to the callers that wait. */
export class CompleteRequest extends UnlockRequest {
  readonly #completion: Completion

  constructor(fence: number, key: string, completion: Completion) {
    super(fence, key)
    this.#completion = completion
  }

  override text(): string {
    return completeText(this.id, this.fence, this.#completion)
  }

  /**
   * Rejects, because the session may have ended before the broker got the value. Returns true,
   * because the request is complete.
   */
  override onSessionEnded(message?: string, error?: HoldfastError): boolean {
    this.fail(error ?? new HoldfastError('LOCK_NOT_HELD', message))
    return true
  }
}
