/**
 * Parses the frames that brokers send. A frame is one message or a JSON array of messages. Most
 * messages are `granted` and `unlocked`. This file reads a frame of such messages without
 * `JSON.parse` if the broker wrote the fields without spaces and in this order:
 *
 *     {"type":"granted","id":7,"fence":1836018073600001,"at":52000}
 *     {"type":"unlocked","id":8}
 *
 * `at` may be missing. All other frames go to `parseFrame`. For every text, `parseBrokerFrame`
 * returns the same result as `parseFrame`. A property test compares these two functions for random
 * frames.
 *
 * The functions of `frequentFrames.ts` keep the present position in the text between their calls.
 */
import { parseFrame } from './codec.js'
import {
  invalid,
  readFrequentFrame,
  readInteger,
  skip,
  skipAll,
  skipEnd,
  splitStart,
  typeLetter,
} from './frequentFrames.js'

// `splitStart` splits the start of a message into short parts, which are compared faster.
// `skipAll` skips the parts in turn.
const grantedStart = /* @__PURE__ */ splitStart('{"type":"granted","id":')
const fenceStart = ',"fence":'
const atStart = ',"at":'
const unlockedStart = /* @__PURE__ */ splitStart('{"type":"unlocked","id":')

/** The character codes of the first letters of the types. */
const letters = { g: 0x67, u: 0x75 } as const

/**
 * Returns the unchecked messages of a frame. Returns undefined for a text that is not JSON, for an
 * empty array, and for JSON that is neither an object nor an array.
 */
export function parseBrokerFrame(text: string): readonly unknown[] | undefined {
  return readFrequentFrame(text, readMessage) ?? parseFrame(text)
}

function readMessage(text: string): object | undefined {
  const letter = typeLetter(text)
  if (letter === letters.g) return readGranted(text)
  return letter === letters.u ? readUnlocked(text) : undefined
}

function readGranted(text: string): object | undefined {
  if (!skipAll(text, grantedStart)) return undefined
  const id = readInteger(text)
  if (id === invalid || !skip(text, fenceStart)) return undefined
  const fence = readInteger(text)
  if (fence === invalid) return undefined
  if (skipEnd(text)) return { type: 'granted', id, fence }
  if (!skip(text, atStart)) return undefined
  const at = readInteger(text)
  return at !== invalid && skipEnd(text) ? { type: 'granted', id, fence, at } : undefined
}

function readUnlocked(text: string): object | undefined {
  if (!skipAll(text, unlockedStart)) return undefined
  const id = readInteger(text)
  return id !== invalid && skipEnd(text) ? { type: 'unlocked', id } : undefined
}
