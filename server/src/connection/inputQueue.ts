/**
 * The input that a paused connection has received but not handled: the rest of a frame and the
 * later frames, in order of arrival. The queue stays short, because a paused connection does not
 * read its socket.
 */
import { parseClientFrame } from '@holdfast/shared'
import { costOfParsing } from '../config/workCosts.js'

/**
 * The text that stands in the queue for input that is not a text frame. `removeNext` reports this
 * text as malformed, because an empty text is no JSON.
 */
export const invalidFrame = ''

interface Frame {
  /** When the frame arrived, in compensated time (see `connectionDeps.ts`), in ms. */
  readonly at: number
  readonly text: string
  /** The parsed messages of the frame; undefined until the first message is removed. */
  elements: readonly unknown[] | undefined
  /** Index of the next element to handle. */
  nextIndex: number
}

/** One message of a frame. The message is not validated yet. */
export interface QueuedElement {
  readonly element: unknown
  /** When the frame of the message arrived, in compensated time, in ms. */
  readonly at: number
  /**
   * For the first message of a frame, the cost of parsing the frame, in units of work (see
   * `workCosts.ts`). For later messages of the frame, 0.
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
    this.#add({ text, at, elements: undefined, nextIndex: 0 })
  }

  /** Adds the rest of a frame, from the element with the index `nextIndex` on. */
  addRest(text: string, at: number, elements: readonly unknown[], nextIndex: number): void {
    if (nextIndex < elements.length) this.#add({ text, at, elements, nextIndex })
  }

  /** Removes and returns the next message; `'malformed'` for invalid JSON, undefined at the end. */
  removeNext(): QueuedElement | 'malformed' | undefined {
    const frame = this.#frames[this.#firstIndex]
    if (frame === undefined) return undefined
    const parsingCost = frame.elements === undefined ? costOfParsing(frame.text) : 0
    frame.elements ??= parseClientFrame(frame.text)
    // The frame stays in the queue, because the caller aborts the connection.
    if (frame.elements === undefined) return 'malformed'
    const element = frame.elements[frame.nextIndex++]
    if (frame.nextIndex >= frame.elements.length) this.#removeFirst(frame)
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
