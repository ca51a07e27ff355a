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
   * Handles a response. Returns the time at which the request was sent. From that time the client
   * counts its lease, which is how long the broker keeps a silent session. Returns undefined:
   * - if the request has ended already, or was sent on a former connection;
   * - if the client knows already that the broker has received a message that was sent later. The
   *   lease then counts from that message.
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
      // the response again. The request is gone, so `isStored` stands in for
      // `request.brokerStoresResponse`.
      if (isStored) this.#pendingRequests.onStoredResponse(id, connection)
      return undefined
    }
    request.checkResponse(response)
    if (request.brokerStoresResponse) this.#pendingRequests.onStoredResponse(id, connection)
    // `noteReceivedByBroker` returns the time of the sending, or undefined as described above.
    const sentAt =
      request.sentOn === connection
        ? connection.noteReceivedByBroker(request.messageNumber)
        : undefined
    if (response.type === 'failed') this.#onFailed(request, response)
    else if (request.onResponse(response, isResuming)) this.#pendingRequests.remove(request)
    return sentAt
  }

  #onFailed(request: Request, failed: Failed): void {
    if (this.#pendingRequests.reissue(request, failed)) return
    this.#pendingRequests.remove(request)
    request.onFailed(errorOfFailed(failed, this.#sessionId()))
  }
}
