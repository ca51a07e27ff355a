/**
 * What a paused connection has received and not handled yet: the rest of a frame and the frames
 * behind it, in the order and with the time of their arrival. It stays short, because a paused
 * connection reads no further frame.
 */
import { parseFrame } from '@holdfast/shared'
import { costOfParsing } from '../config/workCosts.js'

/** Stands for a frame that is none, behind frames that wait. */
export const notAFrame = ''

interface Frame {
  /** When it arrived, in the broker's time, in ms. */
  readonly at: number
  /** As text, until its turn has come. */
  readonly text: string
  elements: readonly unknown[] | undefined
  next: number
}

/** One message of a frame, still to be checked. */
export interface QueuedElement {
  readonly element: unknown
  /** When its frame arrived, in the broker's time, in ms. */
  readonly at: number
  /** What parsing its frame has cost, in units of work; 0 for all but the first of a frame. */
  readonly parsingCost: number
}

export class InputQueue {
  readonly #frames: Frame[] = []
  #first = 0
  #bytes = 0

  get isEmpty(): boolean {
    return this.#first === this.#frames.length
  }

  /** Bytes of text that wait here; a character is at least a byte. */
  get bytes(): number {
    return this.#bytes
  }

  /** A frame of which nothing was handled. */
  addFrame(text: string, at: number): void {
    this.#add({ text, at, elements: undefined, next: 0 })
  }

  /** The rest of a frame, from the element with this index on. */
  addRest(text: string, at: number, elements: readonly unknown[], next: number): void {
    if (next < elements.length) this.#add({ text, at, elements, next })
  }

  /** Takes the next message; `'malformed'` for a frame that is none, undefined at the end. */
  next(): QueuedElement | 'malformed' | undefined {
    const frame = this.#frames[this.#first]
    if (frame === undefined) return undefined
    const parsingCost = frame.elements === undefined ? costOfParsing(frame.text) : 0
    frame.elements ??= parseFrame(frame.text)
    if (frame.elements === undefined) return 'malformed'
    const element = frame.elements[frame.next++]
    if (frame.next >= frame.elements.length) this.#drop(frame)
    return { element, at: frame.at, parsingCost }
  }

  #add(frame: Frame): void {
    this.#frames.push(frame)
    this.#bytes += frame.text.length
  }

  #drop(frame: Frame): void {
    this.#bytes -= frame.text.length
    this.#first++
    if (this.#first < this.#frames.length) return
    this.#frames.length = 0
    this.#first = 0
  }
}
