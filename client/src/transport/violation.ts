/**
 * Thrown by code that handles a message of the right form which cannot be right, such as the answer
 * to a request that was not sent. Thrown before anything is changed; the connection catches it and
 * fails. `message` completes "the broker sent an invalid message: …".
 */
export class ProtocolViolation extends Error {}
