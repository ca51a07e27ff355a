/**
 * What is known of a frame or a message that has arrived before the broker handles it.
 */
import { type ClientMessage, type Hello, utf8Length } from '@holdfast/shared'
import type { InvalidMessage } from '@holdfast/shared/clientChecks'

/** Something with an id that is no message: the client is told why. */
export type InvalidRequest = InvalidMessage & { readonly id: number }

/** Whether this is more than a reason to close. */
export function isForOwner(
  message: ClientMessage | InvalidMessage,
): message is Exclude<ClientMessage, Hello> | InvalidRequest {
  return message.type === 'refusal' ? message.id !== undefined : message.type !== 'hello'
}

/** Whether a frame has more bytes than this. */
export function isLongerThan(text: string, bytes: number): boolean {
  return text.length > bytes || (text.length * 3 > bytes && utf8Length(text) > bytes)
}
