/**
 * The input that a paused connection has received but not handled: the rest of a frame and the
 * later frames, in order of arrival. The queue stays short, because a paused connection does not
 * read its socket.
 *
 * The queue checks a long frame as a whole, and then keeps the parsed messages of one part at a
 * time. Otherwise a hundred paused connections would keep hundreds of thousands of parsed messages.
 * V8 would copy these messages in each collection of the young generation. Such a collection blocks
 * the broker for 20 ms.
 */
import { parseClientFrame, utf8Length } from '@holdfast/shared'
import { costOfParsing } from '../config/workCosts.js'

/**
 * The queue holds this text in place of input that is not a text frame. `removeNext` reports this
 * text as malformed, because an empty text is no JSON.
 */
export const invalidFrame = ''

/** A frame with at most this many characters is parsed as a whole. */
const maxWholeChars = 2_048
/** A longer frame is parsed in parts. A part ends with the message that makes it this long. */
const partChars = 1_024

interface Frame {
  /** When the frame arrived, in compensated time (see `connectionDeps.ts`), in ms. */
  readonly at: number
  readonly text: string
  /** The parsed messages of the frame, or of its present part; undefined before the parsing. */
  elements: readonly unknown[] | undefined
  /** Index of the next element to handle, in `elements`. */
  nextIndex: number
  /** Index in `text` of the first character of the next part; undefined if there is none. */
  nextPartStart: number | undefined
}

/** One message of a frame. The message is not validated yet. */
export interface QueuedElement {
  readonly element: unknown
  /** When the frame of the message arrived, in compensated time, in ms. */
  readonly at: number
  /**
   * In units of work (see `workCosts.ts`). The first message of a frame or part bears the cost of
   * parsing that frame or part. For the other messages, 0.
   */
  readonly parsingCost: number
}

export class InputQueue {
  readonly #frames: Frame[] = []
  /** Index of the first frame that still has messages. */
  #firstIndex = 0
  #chars = 0

  get isEmpty(): boolean {
    return this.#firstIndex === this.#frames.length
  }

  /** Length of the text that waits, in characters. Each character takes one or two bytes. */
  get chars(): number {
    return this.#chars
  }

  /** Adds a whole frame. */
  addFrame(text: string, at: number): void {
    this.#add({ text, at, elements: undefined, nextIndex: 0, nextPartStart: undefined })
  }

  /** Adds the rest of a frame, from the element with the index `nextIndex` on. */
  addRest(text: string, at: number, elements: readonly unknown[], nextIndex: number): void {
    if (nextIndex < elements.length) this.#add(restOf(text, at, elements, nextIndex))
  }

  /** Removes and returns the next message; `'malformed'` for invalid JSON, undefined at the end. */
  removeNext(): QueuedElement | 'malformed' | undefined {
    const frame = this.#frames[this.#firstIndex]
    if (frame === undefined) return undefined
    let parsingCost = 0
    if (frame.elements === undefined) {
      parsingCost = costOfParsing(frame.text)
      // The frame may stay in the queue, because the caller then aborts the connection.
      if (!parseFrameText(frame)) return 'malformed'
    }
    // True if all messages of the present part were handled, or if no part was parsed yet.
    if (frame.nextIndex === frame.elements!.length) parsingCost += parseNextPart(frame)
    const element = frame.elements![frame.nextIndex++]
    const isDone = frame.nextIndex === frame.elements!.length && frame.nextPartStart === undefined
    if (isDone) this.#removeFirst(frame)
    return { element, at: frame.at, parsingCost }
  }

  #add(frame: Frame): void {
    this.#frames.push(frame)
    this.#chars += frame.text.length
  }

  #removeFirst(frame: Frame): void {
    this.#chars -= frame.text.length
    this.#firstIndex++
    if (this.#firstIndex < this.#frames.length) return
    this.#frames.length = 0
    this.#firstIndex = 0
  }
}

/** The rest of a frame, from the element with the index `nextIndex` on. */
function restOf(text: string, at: number, elements: readonly unknown[], nextIndex: number): Frame {
  if (isParsedWhole(text, elements)) {
    return { text, at, elements, nextIndex, nextPartStart: undefined }
  }
  const firstStart = firstElementStart(text)
  const nextPartStart =
    nextIndex === 0 ? firstStart : endOfElements(text, firstStart, nextIndex) + 1
  return { text, at, elements: [], nextIndex: 0, nextPartStart }
}

/**
 * Whether a frame is parsed as a whole: the frame is short or has one message. Any other frame is
 * an array of several messages, which is parsed in parts.
 */
function isParsedWhole(text: string, elements: readonly unknown[]): boolean {
  return text.length <= maxWholeChars || elements.length === 1
}

/**
 * Parses the whole frame, because no message of a malformed frame may be handled. Returns whether
 * the frame is valid. Keeps the messages if `isParsedWhole`. Drops those of any other frame, which
 * is parsed again in parts.
 */
function parseFrameText(frame: Frame): boolean {
  const { text } = frame
  const elements = parseClientFrame(text)
  if (elements === undefined) return false
  if (isParsedWhole(text, elements)) frame.elements = elements
  else {
    frame.elements = []
    frame.nextPartStart = firstElementStart(text)
  }
  return true
}

/** Parses the next part of a long frame. Returns the cost in units of work. */
function parseNextPart(frame: Frame): number {
  const { text } = frame
  const start = frame.nextPartStart!
  const end = endOfElements(text, start, 1, start + partChars)
  const part = `[${text.slice(start, end)}]`
  frame.elements = parseClientFrame(part)!
  frame.nextIndex = 0
  frame.nextPartStart = text[end] === ',' ? end + 1 : undefined
  return costOfParsing(part)
}

const charCodes = {
  quote: 0x22,
  comma: 0x2c,
  openingBracket: 0x5b,
  backslash: 0x5c,
  closingBracket: 0x5d,
  openingBrace: 0x7b,
  closingBrace: 0x7d,
} as const

/** The index behind the opening bracket of a JSON array, where the first element begins. */
function firstElementStart(text: string): number {
  return text.indexOf('[') + 1
}

/**
 * Returns the index of a comma between elements: the first comma at `minEnd` or later with at least
 * `minCount` elements before it. Without such a comma, returns the index of the bracket that closes
 * the array.
 *
 * @param text A valid JSON array.
 * @param start Index in `text` of the first character of the first element to count.
 */
function endOfElements(text: string, start: number, minCount: number, minEnd = 0): number {
  let depth = 0
  let count = 0
  for (let i = start; ; i++) {
    switch (text.charCodeAt(i)) {
      case charCodes.quote:
        i = endOfString(text, i)
        break
      case charCodes.openingBracket:
      case charCodes.openingBrace:
        depth++
        break
      case charCodes.closingBracket:
      case charCodes.closingBrace:
        if (depth-- === 0) return i
        break
      case charCodes.comma:
        if (depth === 0 && ++count >= minCount && i >= minEnd) return i
    }
  }
}

/** The index of the closing quote of the string that begins at the index `start`. */
function endOfString(text: string, start: number): number {
  let i = start + 1
  for (let code = text.charCodeAt(i); code !== charCodes.quote; code = text.charCodeAt(i)) {
    // The character behind a backslash is a part of the string.
    i += code === charCodes.backslash ? 2 : 1
  }
  return i
}

/**
 * Whether a frame has more than `bytes` bytes of UTF-8. Each UTF-16 unit takes one to three bytes,
 * so most frames need no count.
 */
export function isLongerThan(text: string, bytes: number): boolean {
  return text.length > bytes || (text.length * 3 > bytes && utf8Length(text) > bytes)
}
