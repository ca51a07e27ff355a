/**
 * The held locks of a key or of a prefix, from one watch of the session. A watch reports the
 * changes of locks. All components with the same selection (a key or a prefix) share one watch.
 */
import {
  type HeldInfo,
  HoldfastError,
  type OptionNames,
  refuseUnknownOptions,
} from '@holdfast/shared'
import { check, checkKey } from '../platform/checks.js'
import { platformEnvironment } from '../platform/environment.js'
import type { Session } from '../session/session.js'
import type { Watch, WatchEvent } from '../session/watch.js'
import { Store } from './store.js'

/** A key, or all keys with a prefix. */
export type HoldersSelection =
  | { readonly key: string; readonly prefix?: undefined }
  | { readonly prefix: string; readonly key?: undefined }

/** The result of `useHolders`. */
export interface Holders {
  /**
   * The held locks in the order of their grants, the oldest first. The broker sends at most 1,000
   * locks when the watch begins, and again at most 1,000 after each reconnect. If more locks are
   * held at that moment, the list lacks some of them.
   */
  readonly holders: readonly HeldInfo[]
  /** How many locks are held, including those that `holders` leaves out. */
  readonly heldCount: number
  /** Whether the broker has sent the locks. Always false while a server renders the page. */
  readonly isKnown: boolean
  /** Why the locks cannot be listed, such as `FORBIDDEN` or `INVALID_KEY`. */
  readonly error: HoldfastError | undefined
}

/** The result before the broker has sent the locks. */
export const unknownHolders: Holders = {
  holders: [],
  heldCount: 0,
  isKnown: false,
  error: undefined,
}

export class HoldersStore extends Store<Holders> {
  readonly #session: Session
  readonly #selection: HoldersSelection
  /**
   * The locks by fence (the number of the grant) and key, because a lock on several keys has one
   * fence and is listed once for each key.
   */
  readonly #locks = new Map<string, HeldInfo>()
  #heldCount = 0
  /** Undefined while no component uses this store. */
  #watch: Watch | undefined
  readonly #registry: StoreRegistry
  readonly #selectionText: string

  /**
   * @param registry The stores of the session, to which the constructor adds this store.
   * @param selectionText The JSON text of the selection, by which the registry finds this store.
   */
  constructor(
    session: Session,
    selection: HoldersSelection,
    registry: StoreRegistry,
    selectionText: string,
  ) {
    super(unknownHolders)
    this.#session = session
    this.#selection = selection
    this.#registry = registry
    this.#selectionText = selectionText
    registry.set(selectionText, this)
  }

  protected override onSubscribed(): void {
    if (this.#watch !== undefined) return
    // `onAbandoned` may have removed this store from the registry.
    if (!this.#registry.has(this.#selectionText)) this.#registry.set(this.#selectionText, this)
    try {
      this.#watch = this.#session.watch(this.#selection, (event) => this.#onEvent(event))
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error
      // Sets the error later, because React is still adding the listener now.
      platformEnvironment.endOfTurn(() => this.set({ ...unknownHolders, error }))
    }
  }

  /**
   * Ends the watch at the end of the turn of the event loop, if no component has subscribed again
   * meanwhile. React removes and adds listeners in one turn in its strict mode, and when components
   * are replaced.
   */
  protected override onAbandoned(): void {
    platformEnvironment.endOfTurn(() => {
      if (this.hasListeners) return
      this.#watch?.close()
      this.#watch = undefined
      if (this.#registry.get(this.#selectionText) === this) {
        this.#registry.delete(this.#selectionText)
      }
      this.set(unknownHolders)
    })
  }

  #onEvent(event: WatchEvent): void {
    if (event.event === 'refused') {
      this.set({ ...unknownHolders, error: event.error })
      return
    }
    if (event.event === 'state') {
      this.#locks.clear()
      this.#heldCount = event.heldCount
      for (const lock of event.held) this.#add(lock)
    } else if (event.event === 'locked') {
      this.#heldCount++
      this.#add(event)
    } else if (event.event === 'upgraded') {
      // An upgrade changes the fence, so the lock is still listed with its former fence. The
      // upgraded lock is the only lock of its key, so all entries of the key are outdated.
      for (const [id, { key }] of this.#locks) if (key === event.key) this.#locks.delete(id)
      this.#add(event)
    } else if (event.event === 'downgraded' || event.event === 'proclaimed') {
      this.#add(event)
    } else {
      // The other events, `unlocked`, `expired` and `lost`, end the lock.
      this.#heldCount = Math.max(0, this.#heldCount - 1)
      this.#locks.delete(lockIdOf(event))
    }
    const holders = [...this.#locks.values()].sort((a, b) => a.fence - b.fence)
    this.set({ holders, heldCount: this.#heldCount, isKnown: true, error: undefined })
  }

  #add(lock: HeldInfo): void {
    this.#locks.set(lockIdOf(lock), lock)
  }
}

function lockIdOf({ fence, key }: HeldInfo): string {
  return `${fence} ${key}`
}

const selectionNames: OptionNames<HoldersSelection> = { key: 1, prefix: 1 }

/**
 * Checks a selection. `useHolders` passes only `key` and `prefix` to the session, so the session
 * cannot report a misspelt field.
 *
 * @returns An error `INVALID_OPTION`, or `INVALID_KEY` for a selection with neither a key nor a
 *   prefix; undefined if the names of the fields are right. The session checks the values.
 */
export function faultOfSelection(selection: HoldersSelection): HoldfastError | undefined {
  try {
    refuseUnknownOptions('useHolders', selection, selectionNames)
    const { key, prefix }: { key?: unknown; prefix?: unknown } = selection
    check(key === undefined || prefix === undefined, 'give a key or a prefix, not both')
    // Throws, because the key is undefined.
    if (prefix === undefined && key === undefined) checkKey(key)
    return undefined
  } catch (error) {
    return error as HoldfastError
  }
}

/** The stores of a session by the JSON text of their selections. */
type StoreRegistry = Map<string, HoldersStore>

const registries = new WeakMap<Session, StoreRegistry>()

/** Returns the store that all components with this session and selection share. */
export function holdersOf(session: Session, selection: HoldersSelection): HoldersStore {
  const registry = registries.get(session) ?? new Map<string, HoldersStore>()
  registries.set(session, registry)
  const selectionText = JSON.stringify([selection.key, selection.prefix])
  return (
    registry.get(selectionText) ?? new HoldersStore(session, selection, registry, selectionText)
  )
}
