/**
 * One simulated process with an event loop. A turn runs due timers, then the waiting input, then
 * the callbacks for the end of the turn. In some turns the input comes before the timers, as in
 * Node after a stop (SIGSTOP). Each callback of a turn (for a timer, for an input, or for the end
 * of the turn) is a unit. Between two units all promises settle, and the process may be stopped.
 */
import type { SimClock } from './clocks.js'
import type { Random } from './random.js'
import type { World } from './world.js'

export class SimProcess {
  readonly name: string
  readonly clock: SimClock
  readonly #world: World
  readonly #random: Random
  #inbox: (() => void)[] = []
  #endOfTurn: (() => void)[] = []
  /** The rest of the present turn; undefined between two turns. */
  #turn: Iterator<void> | undefined = undefined
  /** Whether the beginning of a turn is scheduled. */
  #isScheduled = false
  #isStopped = false
  #isDead = false
  #unitsUntilStop = Number.POSITIVE_INFINITY
  #stoppedAt = 0
  #stoppedFor = 0
  #stops = 0
  #turns = 0
  #turnBegan = 0
  /** The longest time by which other work delays a turn, in ms. Only some turns are delayed. */
  busyMs = 3
  /** Whether the latest unit handled a frame. */
  hasReadFrame = false
  /** Called when a stop of the process ends, before any code of the process runs. */
  onResume: () => void = () => {}
  /** Called after each unit of a turn, when its promises have settled. */
  afterUnit: () => void = () => {}

  constructor(name: string, world: World, random: Random, clock: SimClock) {
    this.name = name
    this.clock = clock
    this.#world = world
    this.#random = random
    clock.onDue = () => this.#wake()
  }

  /** False while the process is stopped, and after it was killed. */
  get isRunning(): boolean {
    return !this.#isStopped && !this.#isDead
  }

  get isDead(): boolean {
    return this.#isDead
  }

  /** World time without the stops of this process, in ms. Only differences have a meaning. */
  get ranFor(): number {
    const presentStopMs = this.#isStopped ? this.#world.now - this.#stoppedAt : 0
    return this.#world.now - this.#stoppedFor - presentStopMs
  }

  /** The number of times that the process was stopped. */
  get stops(): number {
    return this.#stops
  }

  /** The number of finished turns. */
  get turns(): number {
    return this.#turns
  }

  /** When the present turn began, in world time in ms. */
  get turnBegan(): number {
    return this.#turnBegan
  }

  /** Queues input for the next turn. */
  readonly receive = (input: () => void): void => {
    if (this.#isDead) return
    this.#inbox.push(input)
    this.#wake()
  }

  /** Queues a callback for the end of the present turn; between two turns, of the next turn. */
  readonly endOfTurn = (callback: () => void): void => {
    if (this.#isDead) return
    this.#endOfTurn.push(callback)
    this.#wake()
  }

  /** Stops the process now, or after `afterUnits` more units. */
  stop({ afterUnits = 0 }: { readonly afterUnits?: number } = {}): void {
    if (this.#isDead || this.#isStopped) return
    if (afterUnits > 0) {
      this.#unitsUntilStop = afterUnits
      return
    }
    this.#unitsUntilStop = Number.POSITIVE_INFINITY
    this.#stops++
    this.#isStopped = true
    this.#stoppedAt = this.#world.now
  }

  /** Suspends the machine: stops the process and its monotonic clock. */
  sleep(): void {
    this.stop()
    this.clock.sleep()
  }

  /** Continues the process after a stop. Also cancels a stop that still waits for `afterUnits`. */
  resume(): void {
    this.clock.wake()
    this.#unitsUntilStop = Number.POSITIVE_INFINITY
    if (!this.#isStopped || this.#isDead) return
    this.#isStopped = false
    this.#stoppedFor += this.#world.now - this.#stoppedAt
    this.onResume()
    // A process that was stopped within a turn first continues this turn.
    if (this.#turn !== undefined) this.#world.step(this.#runUnit)
    else this.#wake()
  }

  /** Ends the process like SIGKILL: no further code of the process runs. */
  kill(): void {
    this.#isDead = true
    this.#inbox = []
    this.#endOfTurn = []
    this.#turn = undefined
    this.clock.stop()
  }

  get #hasWork(): boolean {
    return this.#inbox.length > 0 || this.clock.hasDue || this.#endOfTurn.length > 0
  }

  /** Starts a turn immediately, or a little later if the process is busy. */
  #wake(): void {
    if (this.#isScheduled || this.#turn !== undefined || !this.isRunning || !this.#hasWork) return
    this.#isScheduled = true
    // About a third of the turns are delayed.
    const delayMs = this.#random.chance(0.3) ? this.#random.between(0, this.busyMs) : 0
    this.#world.after(delayMs, () => {
      this.#isScheduled = false
      if (!this.isRunning || this.#turn !== undefined) return
      this.#turn = this.#units()
      this.#turnBegan = this.#world.now
      this.#runUnit()
    })
  }

  /** Runs one unit of the present turn. */
  readonly #runUnit = (): void => {
    if (this.#turn === undefined || !this.isRunning) return
    if (this.#unitsUntilStop-- <= 0) {
      this.stop()
      return
    }
    let isDone = false
    try {
      isDone = this.#turn.next().done === true
    } catch (error) {
      this.#turn = undefined
      this.#world.onError(error)
      return
    }
    // The world runs a step only after the promises of this unit have settled.
    this.#world.step(isDone ? this.#finishTurn : this.#finishUnit)
  }

  readonly #finishUnit = (): void => {
    this.#unitEnds()
    this.#runUnit()
  }

  readonly #finishTurn = (): void => {
    this.#turn = undefined
    this.#unitEnds()
    this.#turns++
    this.#wake()
  }

  #unitEnds(): void {
    this.afterUnit()
    this.hasReadFrame = false
  }

  /** Runs one turn. Yields between two units. */
  *#units(): Generator<void, void> {
    const areTimersFirst = this.#random.chance(0.5)
    if (areTimersFirst) yield* this.#timers()
    yield* this.#input()
    if (!areTimersFirst) yield* this.#timers()
    const callbacks = this.#endOfTurn
    this.#endOfTurn = []
    for (const callback of callbacks) {
      callback()
      yield
    }
  }

  *#timers(): Generator<void, void> {
    if (!this.clock.hasDue) return
    for (const timer of this.clock.removeDue()) {
      this.clock.fire(timer)
      yield
    }
  }

  /** Handles the input that waits now; later input is left for the next turn. */
  *#input(): Generator<void, void> {
    for (const input of this.#inbox.splice(0)) {
      input()
      yield
    }
  }
}
