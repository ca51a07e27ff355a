/**
 * What a watcher makes of what it is told: a picture of all that is held, kept from the state and
 * the events alone. It must never be told of what cannot be, and be right once everything is quiet.
 */
import type { WatchEvent } from '@holdfast/client'
import type { Claims } from './claims.js'

export class Picture {
  readonly #claims: Claims
  /** By fence; undefined until the first state. */
  #held: Set<number> | undefined

  constructor(claims: Claims) {
    this.#claims = claims
  }

  get heldCount(): number {
    return this.#held?.size ?? 0
  }

  readonly take = (event: WatchEvent): void => {
    const held = this.#held
    this.#claims.count(`watch ${event.event}`)
    switch (event.event) {
      case 'state':
        if (event.resync !== (held !== undefined)) this.#wrong('resync marks what may be missed')
        this.#held = new Set(event.held.map(({ fence }) => fence))
        break
      case 'refused':
        this.#wrong('it is refused')
        break
      case 'locked':
        if (held === undefined || held.has(event.fence)) this.#wrong(`locked ${event.fence}`)
        held?.add(event.fence)
        break
      default:
        if (held?.delete(event.fence) !== true) this.#wrong(`${event.event} ${event.fence}`)
    }
  }

  #wrong(detail: string): void {
    this.#claims.broken('a watch sees everything once', detail)
  }
}
