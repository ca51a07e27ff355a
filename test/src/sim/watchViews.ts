/**
 * Follows a watch: derives the set of held locks from the states and events of the watch alone.
 * Checks that each event fits the set.
 */
import type { Session, Watch, WatchEvent } from '@holdfast/client'
import type { CallOracle } from './callOracle.js'

export class WatchView {
  readonly #callOracle: CallOracle
  /**
   * The held locks by fence (number of the grant) and key; undefined until the first state. The
   * locks of a set have the same fence.
   */
  #held: Set<string> | undefined

  constructor(callOracle: CallOracle) {
    this.#callOracle = callOracle
  }

  get heldCount(): number {
    return this.#held?.size ?? 0
  }

  readonly onEvent = (event: WatchEvent): void => {
    const held = this.#held
    this.#callOracle.count(`watch ${event.event}`)
    switch (event.event) {
      case 'state':
        if (event.resync !== (held !== undefined)) this.#violated('resync on the wrong state')
        this.#held = new Set(event.held.map(nameOf))
        break
      case 'refused':
        this.#violated('the watch is refused')
        break
      case 'locked':
        if (held === undefined || held.has(nameOf(event))) this.#violated(`locked ${event.fence}`)
        held?.add(nameOf(event))
        break
      default:
        if (held?.delete(nameOf(event)) !== true) this.#violated(`${event.event} ${event.fence}`)
    }
  }

  #violated(detail: string): void {
    this.#callOracle.violated('a watch reports every change once', detail)
  }
}

/**
 * The watches of one program: a watch of all keys, which the program sometimes closes and opens
 * again, and two equal watches of one key. The broker sends one message for all three watches.
 * After the program has closed the watch of all keys, the broker must continue to report to the
 * other two watches.
 */
export class WatchViews {
  readonly #session: Session
  readonly #callOracle: CallOracle
  readonly #keyViews: readonly WatchView[]
  #allKeys: { readonly view: WatchView; readonly watch: Watch } | undefined

  constructor(session: Session, callOracle: CallOracle, key: string) {
    this.#session = session
    this.#callOracle = callOracle
    this.#allKeys = this.#watchAll()
    this.#keyViews = [new WatchView(callOracle), new WatchView(callOracle)]
    for (const { onEvent } of this.#keyViews) session.watch(key, onEvent)
  }

  get heldCount(): number {
    const keyCount = this.#keyViews.reduce((sum, { heldCount }) => sum + heldCount, 0)
    return keyCount + (this.#allKeys?.view.heldCount ?? 0)
  }

  /** Closes the watch of all keys if it is open, and opens a new watch if `isWanted`. */
  change(isWanted: boolean): void {
    this.#allKeys?.watch.close()
    this.#allKeys = isWanted ? this.#watchAll() : undefined
  }

  #watchAll() {
    const view = new WatchView(this.#callOracle)
    return { view, watch: this.#session.watch({ prefix: '' }, view.onEvent) }
  }
}

function nameOf({ fence, key }: { readonly fence: number; readonly key: string }): string {
  return `${fence} ${key}`
}
