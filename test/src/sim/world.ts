/**
 * The time and the event queue of a simulated world. Time advances only to the time of the next
 * event. Events run in the order of their times; events of the same time run in the order of their
 * creation.
 *
 * The code under test settles its promises in microtasks. Node runs all microtasks between two
 * `setImmediate` callbacks. So each event runs in a callback of its own, and so does each step that
 * an event adds. All promises of an event have settled before the next event, always in the same
 * order.
 */

/** An event that will run unless it is cancelled. */
export interface ScheduledEvent {
  readonly time: number
  cancelled: boolean
}

interface QueuedEvent extends ScheduledEvent {
  readonly order: number
  readonly run: () => void
}

/**
 * The number of `setImmediate` callbacks that the world requests together. With a larger number,
 * the world enters the event loop of Node less often.
 */
const batchSize = 64

export class World {
  /** World time in ms. */
  now = 0
  /** The number of events that have begun. */
  events = 0
  /**
   * Called with every error that an event or a step throws. In a real process the error would end
   * the process.
   */
  onError: (error: unknown) => void = (error) => {
    throw error
  }
  /** Called after each event and its steps. */
  afterEvent: () => void = () => {}
  /** The scheduled events, as a binary heap: the earliest event comes first. */
  readonly #heap: QueuedEvent[] = []
  /** The further steps of the present event. */
  readonly #steps: (() => void)[] = []
  /** The index of the first step that has not run. */
  #nextStep = 0
  #nextOrder = 0
  /** Whether an event has begun and `afterEvent` has not been called since. */
  #inEvent = false

  /** Schedules an event at `time`, or at the present time if `time` is past. */
  at(time: number, event: () => void): ScheduledEvent {
    const queued: QueuedEvent = {
      time: Math.max(time, this.now),
      order: this.#nextOrder++,
      run: event,
      cancelled: false,
    }
    this.#push(queued)
    return queued
  }

  /** Schedules an event after this many ms of world time. */
  after(ms: number, event: () => void): ScheduledEvent {
    return this.at(this.now + ms, event)
  }

  /** Runs `step` at this same time, after all promises have settled and before the next event. */
  step(step: () => void): void {
    this.#steps.push(step)
  }

  /**
   * Runs events until no event remains, or until `isOver` returns true. `isOver` is called before
   * each event.
   */
  run(isOver: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      let immediatesLeft = 0
      let isDone = false
      const refill = () => {
        immediatesLeft = batchSize
        for (let i = 0; i < batchSize; i++) setImmediate(runNext)
      }
      const runNext = () => {
        immediatesLeft--
        if (isDone) return
        if (!this.#advance(isOver)) {
          isDone = true
          resolve()
        } else if (immediatesLeft === 0) refill()
      }
      refill()
    })
  }

  /** Runs the events of the next `ms`. */
  runFor(ms: number): Promise<void> {
    const end = this.now + ms
    let isDone = false
    this.at(end, () => {
      isDone = true
    })
    return this.run(() => isDone)
  }

  /** Runs the next step or the next event. Returns false if the run is over. */
  #advance(isOver: () => boolean): boolean {
    const step = this.#steps[this.#nextStep]
    if (step !== undefined) {
      this.#nextStep++
      this.#run(step)
      return true
    }
    if (this.#nextStep > 0) {
      this.#steps.length = 0
      this.#nextStep = 0
    }
    if (this.#inEvent) {
      this.#inEvent = false
      this.#run(this.afterEvent)
    }
    if (isOver()) return false
    let event = this.#pop()
    while (event?.cancelled === true) event = this.#pop()
    if (event === undefined) return false
    this.now = event.time
    this.events++
    this.#inEvent = true
    this.#run(event.run)
    return true
  }

  #run(callback: () => void): void {
    try {
      callback()
    } catch (error) {
      this.onError(error)
    }
  }

  #push(event: QueuedEvent): void {
    const heap = this.#heap
    let index = heap.length
    heap.push(event)
    while (index > 0) {
      const parentIndex = (index - 1) >> 1
      const parent = heap[parentIndex]!
      if (!isBefore(event, parent)) break
      heap[index] = parent
      index = parentIndex
    }
    heap[index] = event
  }

  #pop(): QueuedEvent | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || first === last) return first
    let index = 0
    for (;;) {
      let childIndex = 2 * index + 1
      const right = heap[childIndex + 1]
      const left = heap[childIndex]
      if (left === undefined) break
      let child = left
      if (right !== undefined && isBefore(right, left)) {
        child = right
        childIndex++
      }
      if (!isBefore(child, last)) break
      heap[index] = child
      index = childIndex
    }
    heap[index] = last
    return first
  }
}

function isBefore(a: QueuedEvent, b: QueuedEvent): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order)
}
