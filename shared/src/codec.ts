/**
 * Parses frames into messages, and joins messages into frames. A frame is one JSON message or an
 * array of messages. Both sides put all messages of one turn of the event loop into one frame, so
 * that a turn needs one write.
 *
 * The functions join the *texts* of messages, because the broker encodes a message once even if the
 * message goes to a thousand connections.
 */
import { utf8Length } from './keys.js'
import { maxOutputFrameBytes } from './limits.js'

/**
 * The messages of a frame, not checked yet. Undefined if the text is no frame: it is not JSON, is
 * an empty array, or is neither an object nor an array.
 */
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
 * Joins encoded messages into as few frames as possible, in order. No frame is longer than
 * `maxBytes`, unless a single message is.
 */
export function joinFrames(
  messages: readonly string[],
  maxBytes: number = maxOutputFrameBytes,
): string[] {
  if (messages.length === 0) return []
  if (messages.length === 1) return [messages[0]!]
  let chars = 1
  for (const message of messages) chars += message.length + 1
  // A UTF-16 unit is at most 3 bytes of UTF-8, so most joins need no exact length.
  if (chars * 3 <= maxBytes) return [`[${messages.join(',')}]`]
  return splitIntoFrames(messages, maxBytes)
}

function splitIntoFrames(messages: readonly string[], maxBytes: number): string[] {
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
