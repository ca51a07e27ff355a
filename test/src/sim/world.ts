/**
 * Time, as the simulation has it: a number that moves only from one event to the next, and a queue
 * of events in the order of their time and, within it, of their making.
 *
 * The code under test settles its promises in microtasks. Node drains those between two immediates,
 * so each event and each step of an event is an immediate of its own: by the time the next one
 * runs, everything that the last one set off has happened, in the same order every time.
 */

/** Something that will happen, unless it is cancelled first. */
export interface Happening {
  readonly time: number
  cancelled: boolean
}

interface Queued extends Happening {
  readonly order: number
  readonly run: () => void
}

/** How many immediates are asked for at once: fewer visits to the operating system. */
const batch = 64

export class World {
  /** World time in ms. */
  now = 0
  /** How many events there have been. */
  events = 0
  /** Called with whatever an event or a step throws: in a real process it would be a crash. */
  onError: (error: unknown) => void = (error) => {
    throw error
  }
  /** Called after each event and all that it set off at once. */
  afterEvent: () => void = () => {}
  readonly #heap: Queued[] = []
  readonly #steps: (() => void)[] = []
  #firstStep = 0
  #order = 0
  #inEvent = false

  /** Runs `event` at `time`, or now if that is past. */
  at(time: number, event: () => void): Happening {
    const queued: Queued = {
      time: Math.max(time, this.now),
      order: this.#order++,
      run: event,
      cancelled: false,
    }
    this.#push(queued)
    return queued
  }

  in(ms: number, event: () => void): Happening {
    return this.at(this.now + ms, event)
  }

  /** Runs `step` at this very time, once all promises have settled and before the next event. */
  step(step: () => void): void {
    this.#steps.push(step)
  }

  /** Lets time pass until `isOver` says so, asked before each event, or until nothing is left. */
  run(isOver: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      let left = 0
      let over = false
      const refill = () => {
        left = batch
        for (let i = 0; i < batch; i++) setImmediate(one)
      }
      const one = () => {
        left--
        if (over) return
        if (!this.#advance(isOver)) {
          over = true
          resolve()
        } else if (left === 0) refill()
      }
      refill()
    })
  }

  /** Lets `ms` pass. */
  runFor(ms: number): Promise<void> {
    const end = this.now + ms
    let over = false
    this.at(end, () => {
      over = true
    })
    return this.run(() => over)
  }

  #advance(isOver: () => boolean): boolean {
    const step = this.#steps[this.#firstStep]
    if (step !== undefined) {
      this.#firstStep++
      this.#attempt(step)
      return true
    }
    if (this.#firstStep > 0) {
      this.#steps.length = 0
      this.#firstStep = 0
    }
    if (this.#inEvent) {
      this.#inEvent = false
      this.#attempt(this.afterEvent)
    }
    if (isOver()) return false
    let event = this.#pop()
    while (event?.cancelled === true) event = this.#pop()
    if (event === undefined) return false
    this.now = event.time
    this.events++
    this.#inEvent = true
    this.#attempt(event.run)
    return true
  }

  #attempt(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.onError(error)
    }
  }

  #push(event: Queued): void {
    const heap = this.#heap
    let place = heap.length
    heap.push(event)
    while (place > 0) {
      const above = (place - 1) >> 1
      const parent = heap[above]!
      if (!isBefore(event, parent)) break
      heap[place] = parent
      place = above
    }
    heap[place] = event
  }

  #pop(): Queued | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || first === last) return first
    let place = 0
    for (;;) {
      let below = 2 * place + 1
      const right = heap[below + 1]
      const left = heap[below]
      if (left === undefined) break
      let child = left
      if (right !== undefined && isBefore(right, left)) {
        child = right
        below++
      }
      if (!isBefore(child, last)) break
      heap[place] = child
      place = below
    }
    heap[place] = last
    return first
  }
}

function isBefore(a: Queued, b: Queued): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order)
}
