/**
 * Knows the readers and editors of all documents by one watch of all locks under a prefix. After a
 * reconnect the watch begins with the whole state again, so this class need not handle reconnects.
 * A fence is the number of a grant.
 */
import type { HeldInfo, Session } from '@holdfast/client'

/** The prefix of all keys of the demo. */
const prefix = 'documents/'

/** The key that the editor of a document holds exclusively. */
export function editKey(id: string): string {
  return `${prefix}${id}/edit`
}

/** The key that all readers of a document hold as a shared lock. */
export function viewKey(id: string): string {
  return `${prefix}${id}/view`
}

export class Presence {
  /** The held locks by their fences. */
  readonly #held = new Map<number, HeldInfo>()

  constructor(session: Session, onChange: (unlocked: string | undefined) => void) {
    session.watch({ prefix }, (event) => {
      if (event.event === 'refused') throw event.error
      if (event.event === 'state') {
        this.#held.clear()
        for (const lock of event.held) this.#held.set(lock.fence, lock)
        onChange(undefined)
      } else if (event.event === 'locked') {
        this.#held.set(event.fence, event)
        onChange(undefined)
      } else {
        this.#held.delete(event.fence)
        onChange(event.key)
      }
    })
  }

  /** The locks of this key, in the order of their grants. */
  locksOf(key: string): HeldInfo[] {
    return [...this.#held.values()]
      .filter((lock) => lock.key === key)
      .sort((a, b) => a.fence - b.fence)
  }
}
