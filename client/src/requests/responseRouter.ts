/**
 * Finds the request that a response of the broker answers, and lets this request handle the
 * response.
 */
import type { Failed } from '@holdfast/shared'
import type { ClockTimes } from '../platform/environment.js'
import type { Connection } from '../transport/connection.js'
import type { PendingRequests } from './pendingRequests.js'
import { errorOfFailed, type Request, type Response } from './requests.js'

export class ResponseRouter {
  readonly #pendingRequests: PendingRequests
  readonly #sessionId: () => string

  /** @param sessionId Returns the id of the present session. */
  constructor(pendingRequests: PendingRequests, sessionId: () => string) {
    this.#pendingRequests = pendingRequests
    this.#sessionId = sessionId
  }

  /**
   * Handles a response. Returns the time at which the request was sent. The lease (how long the
   * broker keeps a silent session) counts from that time. Returns undefined if the
   * response does not extend the lease:
   * - The request has ended already, or was sent on a former connection.
   * - The broker is known to have received a later message, so the lease counts from that message.
   *
   * @param isStored Whether the broker stores responses of this type until they are acknowledged.
   * @param isResuming True while the client does not know yet which locks the session holds.
   * @throws ProtocolViolation for a response that no correct broker sends
   */
  route(
    response: Response,
    connection: Connection,
    isStored: boolean,
    isResuming: boolean,
  ): ClockTimes | undefined {
    const { id } = response
    const request = this.#pendingRequests.get(id)
    if (request === undefined) {
      // The broker repeats a response whose acknowledgement was lost. The client then acknowledges
      // the response again. Without the request, only the type of the response shows whether the
      // broker stores it. A `failed` counts as stored, because the broker stores some refusals.
      if (isStored) this.#pendingRequests.onStoredResponse(id, connection)
      return undefined
    }
    request.checkResponse(response)
    if (request.brokerStoresResponse) this.#pendingRequests.onStoredResponse(id, connection)
    // `noteReceivedByBroker` returns when the message was sent, or undefined if the broker is known
    // to have received a message that was sent later.
    const sentAt =
      request.sentOn === connection
        ? connection.noteReceivedByBroker(request.messageNumber)
        : undefined
    if (response.type === 'failed') this.#onFailed(request, response)
    else if (request.onResponse(response, isResuming)) this.#pendingRequests.remove(request)
    return sentAt
  }

  #onFailed(request: Request, failed: Failed): void {
    // `reissue` returns true if the refusal is not final.
    if (this.#pendingRequests.reissue(request, failed)) return
    this.#pendingRequests.remove(request)
    request.onFailed(errorOfFailed(failed, this.#sessionId()))
  }
}
