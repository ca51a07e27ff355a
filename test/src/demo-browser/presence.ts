/**
 * Who is where, live: everything that is held under one prefix, by one watch. After a reconnect the
 * watch begins with the whole state again, so nothing here has to know about connections.
 */
import type { HeldInfo, Session } from '@holdfast/client'

/** All keys of the demo begin so. */
const prefix = 'documents/'

/** Held exclusively by whoever edits. */
export function editKey(id: string): string {
  return `${prefix}${id}/edit`
}

/** Held together by all who have the document open. */
export function viewKey(id: string): string {
  return `${prefix}${id}/view`
}

export class Presence {
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

  /** Those who hold this key, longest first. */
  on(key: string): HeldInfo[] {
    return [...this.#held.values()]
      .filter((lock) => lock.key === key)
      .sort((a, b) => a.fence - b.fence)
  }
}
