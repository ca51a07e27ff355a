/**
 * The received entries (batches of commands) of the log that this broker has not handled yet. The
 * queue handles the entries in order, in short turns of the event loop: one entry may end a hundred
 * sessions with ten thousand locks each, and the release of a million locks takes seconds.
 */
import type { LogEnvironment } from '../../platform/environment.js'
import { turnMsOf } from '../../platform/turns.js'

/** The steps that handle one entry. A pause may follow each step. */
export type EntrySteps = Generator<undefined, void, undefined>

/**
 * If the waiting entries have more characters than this, the queue does not pause. Meanwhile the
 * event loop reads nothing, so the engine cannot deliver more entries.
 */
const maxWaitingCharacters = 16 * 1024 * 1024
/**
 * If the entries of a turn take less time than this, in ms, the queue does not schedule
 * `#beginTurn`. The next turn then begins with this time in `#usedMs`.
 */
const ignoredMs = 1

interface WaitingEntry {
  readonly characters: number
  readonly begin: () => EntrySteps | undefined
  /** Undefined until the first step. */
  steps: EntrySteps | undefined
}

export class EntryQueue {
  readonly #environment: Pick<LogEnvironment, 'clock' | 'endOfTurn' | 'turnMs'>
  #waiting: WaitingEntry[] = []
  #waitingCharacters = 0
  /** Whether a call of `#run` is under way. */
  #isRunning = false
  /** Whether the handling of the first waiting entry has begun. */
  #isMidEntry = false
  /** The time that entries have taken in this turn of the event loop, in ms. */
  #usedMs = 0
  /** Whether this turn has no time left, so that the other entries wait for the next turn. */
  #isTurnOver = false
  /** Whether `#beginTurn` will be called at the end of this turn. */
  #isBeginTurnScheduled = false

  constructor(environment: Pick<LogEnvironment, 'clock' | 'endOfTurn' | 'turnMs'>) {
    this.#environment = environment
  }

  /** Whether the queue has handled some steps of an entry, but not all. */
  get isMidEntry(): boolean {
    return this.#isMidEntry
  }

  /**
   * Adds an entry, and handles it at once if this turn has time left and no other entry waits.
   *
   * @param characters The length of the entry.
   * @param begin Begins to handle the entry, and returns the steps; undefined if nothing remains.
   */
  add(characters: number, begin: () => EntrySteps | undefined): void {
    this.#waiting.push({ characters, begin, steps: undefined })
    this.#waitingCharacters += characters
    if (!this.#isRunning) this.#run()
  }

  /** Drops all entries, also the entry that is being handled. */
  clear(): void {
    this.#waiting = []
    this.#waitingCharacters = 0
    this.#isMidEntry = false
  }

  /** Handles entries until none waits, or until this turn has no time left. */
  #run(): void {
    const { clock, endOfTurn } = this.#environment
    const turnMs = turnMsOf(this.#environment)
    // As if the earlier entries of this turn had been handled just now.
    const turnStart = clock.monotonic() - this.#usedMs
    this.#isRunning = true
    while (this.#waiting.length > 0 && this.#mayStep()) {
      this.#step()
      this.#usedMs = clock.monotonic() - turnStart
      this.#isTurnOver = this.#usedMs >= turnMs
    }
    this.#isRunning = false
    if (this.#isBeginTurnScheduled || (!this.#isTurnOver && this.#usedMs < ignoredMs)) return
    this.#isBeginTurnScheduled = true
    endOfTurn(this.#beginTurn)
  }

  #mayStep(): boolean {
    return !this.#isTurnOver || this.#waitingCharacters > maxWaitingCharacters
  }

  #step(): void {
    const entry = this.#waiting[0]!
    this.#isMidEntry = true
    entry.steps ??= entry.begin()
    const isDone = entry.steps === undefined || entry.steps.next().done === true
    // Stop here also if the step has called `clear`.
    if (this.#waiting[0] !== entry || !isDone) return
    this.#waiting.shift()
    this.#waitingCharacters -= entry.characters
    this.#isMidEntry = false
  }

  readonly #beginTurn = (): void => {
    this.#isBeginTurnScheduled = false
    this.#isTurnOver = false
    this.#usedMs = 0
    this.#run()
  }
}
