/**
 * Parses frames into messages, and joins messages into frames. A message is a JSON object. A frame
 * is a text that the WebSocket carries as one unit: one message, or an array of messages. Client
 * and broker put all messages of one turn of the event loop into one frame, so that a turn needs
 * one write to the socket.
 *
 * `joinIntoFrames` takes messages that are JSON texts already, because the broker encodes a message
 * only once, even for a thousand connections.
 */
import { utf8Length } from './keys.js'
import { maxOutputFrameBytes } from './limits.js'

/**
 * Returns the unchecked messages of a frame. Returns undefined for a text that is not JSON, for an
 * empty array, and for JSON that is neither an object nor an array.
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
 * `maxBytes`, unless a single message is longer.
 */
export function joinIntoFrames(
  messages: readonly string[],
  maxBytes: number = maxOutputFrameBytes,
): string[] {
  if (messages.length === 0) return []
  // A single message is a frame without brackets.
  if (messages.length === 1) return [messages[0]!]
  // The length of the frame in UTF-16 units: the messages, one unit for "[", and one unit for the
  // "," or "]" after each message. A unit is at most 3 bytes of UTF-8. So for most frames the exact
  // length in bytes need not be computed.
  let units = 1
  for (const message of messages) units += message.length + 1
  if (units * 3 <= maxBytes) return [`[${messages.join(',')}]`]
  return splitIntoFrames(messages, maxBytes)
}

function splitIntoFrames(messages: readonly string[], maxBytes: number): string[] {
  const frames: string[] = []
  // The index of the first message of the present frame, and the length of that frame. The length
  // includes a byte for "[", and a byte for the "," or "]" after each message.
  let firstIndex = 0
  let bytes = 1
  for (let i = 0; i < messages.length; i++) {
    const length = utf8Length(messages[i]!) + 1
    if (i > firstIndex && bytes + length > maxBytes) {
      frames.push(frameOf(messages, firstIndex, i))
      firstIndex = i
      bytes = 1
    }
    bytes += length
  }
  frames.push(frameOf(messages, firstIndex, messages.length))
  return frames
}

function frameOf(messages: readonly string[], firstIndex: number, endIndex: number): string {
  return endIndex - firstIndex === 1
    ? messages[firstIndex]!
    : `[${messages.slice(firstIndex, endIndex).join(',')}]`
}
