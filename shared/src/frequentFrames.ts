/**
 * Reads frames of the most frequent messages without `JSON.parse`, which would take up to a fifth
 * of the time of a busy broker or client. See the profiles in `test/bench/README.md`. The files
 * `parseClientFrame.ts` and `parseBrokerFrame.ts` say which messages are frequent. A frequent
 * message has its fields in a fixed order and without spaces.
 *
 * A function that reads one message, such as `readLock`, reads its text from left to right with the
 * functions of this file. Each of these reads a part of the text at the present position, and moves
 * the position to the end of that part.
 */

/** Frequent messages begin with `{"type":"`, so the first letter of the type has this index. */
const typeIndex = 9

/**
 * If a part of a text has at most this length, V8 copies the part. A longer part is a reference to
 * the whole text, so a key of 13 characters could keep a long frame in memory.
 */
const maxCopiedLength = 12

const charCodes = {
  quote: 0x22,
  comma: 0x2c,
  zero: 0x30,
  openingBracket: 0x5b,
  backslash: 0x5c,
  closingBracket: 0x5d,
  closingBrace: 0x7d,
  space: 0x20,
  tilde: 0x7e,
} as const

/** The result of `readInteger` if the text has no valid integer at the present position. */
export const invalid = -1

/** Where the next read begins. A module variable, because an object would be slower. */
let position = 0

/**
 * Reads a frame whose messages are all frequent. Returns undefined for any other text.
 *
 * @param readMessage Reads one message. Returns undefined if the message is not frequent.
 */
export function readFrequentFrame(
  text: string,
  readMessage: (text: string) => object | undefined,
): readonly object[] | undefined {
  position = 0
  if (text.charCodeAt(0) !== charCodes.openingBracket) {
    const message = readMessage(text)
    return message !== undefined && position === text.length ? [message] : undefined
  }
  const messages: object[] = []
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

/**
 * The character code at the place where the type of a frequent message begins. For other text, this
 * is any code, or NaN after the end of the text. Does not move the position.
 */
export function typeLetter(text: string): number {
  return text.charCodeAt(position + typeIndex)
}

/**
 * Splits the start of a message, such as `{"type":"lock","id":`, into parts for `skipAll`. For each
 * part, `skip` cuts a piece of the same length from the frame. V8 copies such a short piece, and
 * compares a copy faster than a reference to the frame.
 */
export function splitStart(start: string): readonly string[] {
  const parts: string[] = []
  for (let i = 0; i < start.length; i += maxCopiedLength) {
    parts.push(start.slice(i, i + maxCopiedLength))
  }
  return parts
}

/** Skips the parts if the text continues with them. Returns whether it does. */
export function skipAll(text: string, parts: readonly string[]): boolean {
  for (let i = 0; i < parts.length; i++) if (!skip(text, parts[i]!)) return false
  return true
}

/**
 * Skips `part` if the text continues with `part`. Returns whether it does. A part should have at
 * most `maxCopiedLength` characters.
 */
export function skip(text: string, part: string): boolean {
  const end = position + part.length
  // Faster than `startsWith`.
  if (text.slice(position, end) !== part) return false
  position = end
  return true
}

/** Skips the brace at the end of a message. Returns whether the text continues with this brace. */
export function skipEnd(text: string): boolean {
  if (text.charCodeAt(position) !== charCodes.closingBrace) return false
  position++
  return true
}

/**
 * Reads a safe integer that is not negative. Returns `invalid` for any other text. The caller must
 * then give up the frame, because the position may be anywhere in the text.
 */
export function readInteger(text: string): number {
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
 * Reads a key from the position after its opening quote, and skips its closing quote. Returns
 * undefined for a key with a backslash, or with a character that is not printable ASCII.
 */
export function readKey(text: string): string | undefined {
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
