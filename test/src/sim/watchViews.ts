/**
 * A `WatchView` follows a watch (a subscription of a client to the changes of some keys). The view
 * derives the held locks and the waiting requests from the states and events of the watch alone.
 * The view checks that each event fits these locks and requests.
 */
import type { QueuedInfo, QueueEvent, Session, Watch, WatchEvent } from '@holdfast/client'
import type { CallOracle } from './callOracle.js'

export class WatchView {
  readonly #callOracle: CallOracle
  /**
   * The names of the held locks; undefined until the first state. A name is the fence (number of
   * the grant) and the key, because the locks of a set have the same fence.
   */
  #held: Set<string> | undefined
  /** The names (session, id and key) of the waiting requests; empty if `queue` is not watched. */
  #waiting = new Set<string>()

  constructor(callOracle: CallOracle) {
    this.#callOracle = callOracle
  }

  get heldCount(): number {
    return this.#held?.size ?? 0
  }

  get waitingCount(): number {
    return this.#waiting.size
  }

  readonly onEvent = (event: WatchEvent | QueueEvent): void => {
    const held = this.#held
    this.#callOracle.count(`watch ${event.event}`)
    switch (event.event) {
      case 'state':
        // Every state after the first replaces the former state. Only these states have `resync`.
        if (event.resync !== (held !== undefined)) this.#violated('wrong resync')
        this.#held = new Set(event.held.map(nameOf))
        this.#waiting = new Set(event.waiting?.map(requestNameOf))
        break
      case 'queued':
        if (held === undefined || this.#waiting.has(requestNameOf(event)))
          this.#violated(`queued ${requestNameOf(event)}`)
        this.#waiting.add(requestNameOf(event))
        break
      case 'dequeued':
        if (!this.#waiting.delete(requestNameOf(event)))
          this.#violated(`dequeued ${requestNameOf(event)}`)
        break
      case 'refused':
        this.#violated('the watch is refused')
        break
      case 'locked':
        if (held === undefined || held.has(nameOf(event))) this.#violated(`locked ${event.fence}`)
        held?.add(nameOf(event))
        break
      case 'upgraded':
        this.#upgraded(event)
        break
      case 'downgraded':
      case 'proclaimed':
        if (held?.has(nameOf(event)) !== true) this.#violated(`${event.event} ${event.fence}`)
        break
      default:
        // All other events report the end of a lock.
        if (held?.delete(nameOf(event)) !== true) this.#violated(`${event.event} ${event.fence}`)
    }
  }

  /**
   * Replaces the name of the upgraded lock, which has a new fence. The lock must be the only lock
   * of its key.
   */
  #upgraded({ key, fence }: { readonly key: string; readonly fence: number }): void {
    const names = [...(this.#held ?? [])].filter((name) => name.endsWith(` ${key}`))
    if (names.length !== 1) this.#violated(`upgraded ${fence} among ${names.length} locks`)
    for (const name of names) this.#held?.delete(name)
    this.#held?.add(nameOf({ key, fence }))
  }

  #violated(detail: string): void {
    this.#callOracle.violated('a watch reports every change once', detail)
  }
}

/**
 * The watches of one program (the code of a simulated client): a watch of all keys, which the
 * program sometimes closes and opens again, and two equal watches of one key. The broker sends one
 * message for all three watches. After the program has closed the watch of all keys, the broker
 * must continue to report to the other two watches.
 */
export class WatchViews {
  readonly #session: Session
  readonly #callOracle: CallOracle
  readonly #keyViews: readonly WatchView[]
  #allKeys: { readonly view: WatchView; readonly watch: Watch } | undefined

  constructor(session: Session, callOracle: CallOracle, key: string) {
    this.#session = session
    this.#callOracle = callOracle
    this.#allKeys = this.#watchAllKeys()
    this.#keyViews = [new WatchView(callOracle), new WatchView(callOracle)]
    for (const { onEvent } of this.#keyViews) session.watch(key, onEvent)
  }

  /** How many held locks the three watches report together. */
  get heldCount(): number {
    const heldInKeyViews = this.#keyViews.reduce((sum, { heldCount }) => sum + heldCount, 0)
    return heldInKeyViews + (this.#allKeys?.view.heldCount ?? 0)
  }

  /** How many waiting requests the watch of all keys reports. */
  get waitingCount(): number {
    return this.#allKeys?.view.waitingCount ?? 0
  }

  /** Closes the watch of all keys if it is open. Then opens a new watch if `opensAnother`. */
  closeWatchOfAllKeys(opensAnother: boolean): void {
    this.#allKeys?.watch.close()
    this.#allKeys = opensAnother ? this.#watchAllKeys() : undefined
  }

  #watchAllKeys() {
    const view = new WatchView(this.#callOracle)
    return { view, watch: this.#session.watch({ prefix: '', queue: true }, view.onEvent) }
  }
}

function requestNameOf({ session, request, key }: QueuedInfo): string {
  return `${session}#${request} ${key}`
}

function nameOf({ fence, key }: { readonly fence: number; readonly key: string }): string {
  return `${fence} ${key}`
}
