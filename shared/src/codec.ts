/**
 * From messages to frames and back. A frame is one JSON message or an array of them; both sides put
 * what one turn of the event loop produced into one frame, so that a turn is one write.
 *
 * Messages are encoded to text one by one, as they arise, and joined here: the text of a message is
 * made once, even if it goes to a thousand connections.
 */
import { utf8Length } from './keys.js'
import { maxOutputFrameBytes } from './limits.js'

/** The elements of a frame, not validated; undefined if the frame is not one. */
export function parseFrame(text: string): readonly unknown[] | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (Array.isArray(value)) return value.length > 0 ? value : undefined
  return typeof value === 'object' && value !== null ? [value] : undefined
}

/**
 * Joins encoded messages into as few frames as possible, in order, none longer than `maxBytes`
 * (unless a single message is).
 */
export function joinFrames(
  messages: readonly string[],
  maxBytes: number = maxOutputFrameBytes,
): string[] {
  if (messages.length === 0) return []
  if (messages.length === 1) return [messages[0]!]
  let chars = 1
  for (const message of messages) chars += message.length + 1
  // A UTF-16 unit is at most 3 bytes of UTF-8, so this is nearly always the whole work.
  if (chars * 3 <= maxBytes) return [`[${messages.join(',')}]`]
  return cutFrames(messages, maxBytes)
}

function cutFrames(messages: readonly string[], maxBytes: number): string[] {
  const frames: string[] = []
  let first = 0
  let bytes = 1
  for (let i = 0; i < messages.length; i++) {
    const length = utf8Length(messages[i]!) + 1
    if (i > first && bytes + length > maxBytes) {
      frames.push(frameOf(messages, first, i))
      first = i
      bytes = 1
    }
    bytes += length
  }
  frames.push(frameOf(messages, first, messages.length))
  return frames
}

function frameOf(messages: readonly string[], first: number, end: number): string {
  return end - first === 1 ? messages[first]! : `[${messages.slice(first, end).join(',')}]`
}
