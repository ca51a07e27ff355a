/**
 * Who wants to know what happens to which keys. An event is encoded once, however many watch.
 */
import type { Effect, Lock } from '../core/index.js'
import { encodeLockEvent } from './encode.js'
import type { Scope, Search } from './inspect.js'

/** Whoever can be sent a message. */
export interface Audience {
  send(message: string): void
}

interface Watch {
  readonly audience: Audience
  readonly id: number
  readonly scope: Scope
  /** What gathers the state that the watch begins with. */
  readonly search: Pick<Search, 'isToCome'> | undefined
}

const eventForReason = {
  unlocked: 'unlocked',
  expired: 'expired',
  stolen: 'lost',
  revoked: 'lost',
  ended: 'lost',
} as const

export class Watchers {
  readonly #byAudience = new Map<Audience, Map<number, Watch>>()
  readonly #byKey = new Map<string, Set<Watch>>()
  readonly #byPrefix = new Set<Watch>()

  /** How many watches this audience has. */
  countOf(audience: Audience): number {
    return this.#byAudience.get(audience)?.size ?? 0
  }

  /** Whether one of them has this id. */
  has(audience: Audience, id: number): boolean {
    return this.#byAudience.get(audience)?.has(id) === true
  }

  add(audience: Audience, id: number, scope: Scope, search?: Pick<Search, 'isToCome'>): void {
    this.remove(audience, id)
    const watch = { audience, id, scope, search }
    const own = this.#byAudience.get(audience) ?? new Map<number, Watch>()
    this.#byAudience.set(audience, own.set(id, watch))
    if (scope.key === undefined) {
      this.#byPrefix.add(watch)
      return
    }
    const same = this.#byKey.get(scope.key) ?? new Set<Watch>()
    this.#byKey.set(scope.key, same.add(watch))
  }

  remove(audience: Audience, id: number): void {
    const own = this.#byAudience.get(audience)
    const watch = own?.get(id)
    if (own === undefined || watch === undefined) return
    own.delete(id)
    if (own.size === 0) this.#byAudience.delete(audience)
    this.#forget(watch)
  }

  /** The audience is gone. */
  removeAll(audience: Audience): void {
    const own = this.#byAudience.get(audience)
    if (own === undefined) return
    this.#byAudience.delete(audience)
    for (const watch of own.values()) this.#forget(watch)
  }

  /** Tells whoever watches what the table did. */
  tell(effect: Effect): void {
    if (this.#byAudience.size === 0) return
    if (effect.kind === 'granted') this.#publish('locked', effect.lock)
    else if (effect.kind === 'released') this.#publish(eventForReason[effect.reason], effect.lock)
  }

  #publish(event: 'locked' | 'unlocked' | 'expired' | 'lost', lock: Lock): void {
    let text: string | undefined
    for (const watch of this.#interestedIn(lock.key)) {
      if (watch.scope.sees?.(lock.key) === false) continue
      // The state will not have this lock, so its end is none that the watch should hear of.
      if (event !== 'locked' && watch.search?.isToCome(lock)) continue
      text ??= encodeLockEvent(event, lock)
      watch.audience.send(`{"type":"event","watch":${watch.id},"event":${text}}`)
    }
  }

  *#interestedIn(key: string): Generator<Watch> {
    yield* this.#byKey.get(key) ?? []
    for (const watch of this.#byPrefix) {
      if (watch.scope.prefix === undefined || key.startsWith(watch.scope.prefix)) yield watch
    }
  }

  #forget(watch: Watch): void {
    const { key } = watch.scope
    if (key === undefined) {
      this.#byPrefix.delete(watch)
      return
    }
    const same = this.#byKey.get(key)
    same?.delete(watch)
    if (same?.size === 0) this.#byKey.delete(key)
  }
}
