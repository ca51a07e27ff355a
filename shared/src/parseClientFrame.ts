/**
 * Parses the frames that clients send. Most messages are `lock` and `unlock`. With `JSON.parse`, a
 * busy broker would spend up to a fifth of its time on parsing these messages. See the profiles in
 * `test/bench/README.md`. This file reads such a message about four times as fast if the client
 * wrote the fields without spaces and in this order:
 *
 *     {"type":"lock","id":7,"key":"orders/5","ttl":30000,"timeout":1000}
 *     {"type":"unlock","id":8,"fence":1836018073600001}
 *
 * `ttl` and `timeout` may be missing. All other frames go to `parseFrame`. Both ways give the same
 * result for every text. A property test compares them for random frames.
 */
import { parseFrame } from './codec.js'

const lockStart = '{"type":"lock","id":'
const keyStart = ',"key":"'
const ttlStart = ',"ttl":'
const timeoutStart = ',"timeout":'
const unlockStart = '{"type":"unlock","id":'
const fenceStart = ',"fence":'

/** Index of the first letter of the type in a message. */
const typeIndex = 9

/**
 * If a part of a text has at most this length, V8 copies the part. A longer part is a reference to
 * the whole text, so a short key could keep a long frame in memory.
 */
const maxCopiedLength = 12

const charCodes = {
  quote: 0x22,
  comma: 0x2c,
  zero: 0x30,
  openingBracket: 0x5b,
  backslash: 0x5c,
  closingBracket: 0x5d,
  l: 0x6c,
  u: 0x75,
  closingBrace: 0x7d,
  space: 0x20,
  tilde: 0x7e,
} as const

/** The result of `readInteger` if the text has no valid integer at the present position. */
const invalid = -1

/** Where the next read begins. A module variable, because an object would be slower. */
let position = 0

/**
 * Returns the unchecked messages of a frame. Returns undefined for a text that is not JSON, for an
 * empty array, and for JSON that is neither an object nor an array.
 */
export function parseClientFrame(text: string): readonly unknown[] | undefined {
  return readFrequentFrame(text) ?? parseFrame(text)
}

/**
 * Reads a frame whose messages all have the form that the head of this file shows. Returns
 * undefined for any other frame.
 */
function readFrequentFrame(text: string): readonly unknown[] | undefined {
  position = 0
  if (text.charCodeAt(0) !== charCodes.openingBracket) {
    const message = readMessage(text)
    return message !== undefined && position === text.length ? [message] : undefined
  }
  const messages: unknown[] = []
  do {
    // Skips the opening bracket or the comma.
    position++
    const message = readMessage(text)
    if (message === undefined) return undefined
    messages.push(message)
  } while (text.charCodeAt(position) === charCodes.comma)
  const isComplete =
    text.charCodeAt(position) === charCodes.closingBracket && position + 1 === text.length
  return isComplete ? messages : undefined
}

function readMessage(text: string): object | undefined {
  const firstLetter = text.charCodeAt(position + typeIndex)
  if (firstLetter === charCodes.l) return readLock(text)
  return firstLetter === charCodes.u ? readUnlock(text) : undefined
}

function readLock(text: string): object | undefined {
  if (!skip(text, lockStart)) return undefined
  const id = readInteger(text)
  if (id === invalid || !skip(text, keyStart)) return undefined
  const key = readKey(text)
  if (key === undefined) return undefined
  if (skipEnd(text)) return { type: 'lock', id, key }
  const ttl = skip(text, ttlStart) ? readInteger(text) : undefined
  const timeout = skip(text, timeoutStart) ? readInteger(text) : undefined
  if (ttl === invalid || timeout === invalid || !skipEnd(text)) return undefined
  if (timeout === undefined) return { type: 'lock', id, key, ttl }
  if (ttl === undefined) return { type: 'lock', id, key, timeout }
  return { type: 'lock', id, key, ttl, timeout }
}

function readUnlock(text: string): object | undefined {
  if (!skip(text, unlockStart)) return undefined
  const id = readInteger(text)
  if (id === invalid || !skip(text, fenceStart)) return undefined
  const fence = readInteger(text)
  return fence !== invalid && skipEnd(text) ? { type: 'unlock', id, fence } : undefined
}

/** Skips `part` if the text continues with `part`. Returns whether it does. */
function skip(text: string, part: string): boolean {
  const end = position + part.length
  // Faster than `startsWith`.
  if (text.slice(position, end) !== part) return false
  position = end
  return true
}

/** Skips the brace at the end of a message. Returns whether the text continues with this brace. */
function skipEnd(text: string): boolean {
  if (text.charCodeAt(position) !== charCodes.closingBrace) return false
  position++
  return true
}

/** Reads a safe integer that is not negative. Returns `invalid` for any other text. */
function readInteger(text: string): number {
  const start = position
  let value = 0
  let digit = text.charCodeAt(start) - charCodes.zero
  while (digit >= 0 && digit <= 9) {
    value = value * 10 + digit
    digit = text.charCodeAt(++position) - charCodes.zero
  }
  const digits = position - start
  const hasLeadingZero = digits > 1 && text.charCodeAt(start) === charCodes.zero
  const isExact = value <= Number.MAX_SAFE_INTEGER
  return digits > 0 && !hasLeadingZero && isExact ? value : invalid
}

/**
 * Reads a key up to its closing quote. Returns undefined for a key with a backslash, or with a
 * character that is not printable ASCII.
 */
function readKey(text: string): string | undefined {
  const start = position
  let end = start
  let char = text.charCodeAt(end)
  while (char !== charCodes.quote) {
    // False for NaN, which is the character code after the end of the text.
    const isPrintable = char >= charCodes.space && char <= charCodes.tilde
    if (!isPrintable || char === charCodes.backslash) return undefined
    char = text.charCodeAt(++end)
  }
  position = end + 1
  if (end - start <= maxCopiedLength) return text.slice(start, end)
  // `JSON.parse` returns a new text, which does not refer to the frame.
  return JSON.parse(text.slice(start - 1, end + 1)) as string
}
