/**
 * What a watcher makes of what it is told: a picture of all that is held, kept from the state and
 * the events alone. It must never be told of what cannot be, and be right once everything is quiet.
 */
import type { Session, Watch, WatchEvent } from '@holdfast/client'
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

/**
 * The watches of one program: one of everything, which is given up and begun again now and then,
 * and two equal ones of one key. The broker tells all of them with one message, and has to go on
 * telling those of the key when the wider one is gone.
 */
export class Pictures {
  readonly #session: Session
  readonly #claims: Claims
  readonly #narrow: readonly Picture[]
  #wide: { readonly picture: Picture; readonly watch: Watch } | undefined

  constructor(session: Session, claims: Claims, key: string) {
    this.#session = session
    this.#claims = claims
    this.#wide = this.#watchAll()
    this.#narrow = [new Picture(claims), new Picture(claims)]
    for (const { take } of this.#narrow) session.watch(key, take)
  }

  get heldCount(): number {
    const narrow = this.#narrow.reduce((sum, { heldCount }) => sum + heldCount, 0)
    return narrow + (this.#wide?.picture.heldCount ?? 0)
  }

  /** Gives up the watch of everything if there is one, and begins another if `isWanted`. */
  change(isWanted: boolean): void {
    this.#wide?.watch.close()
    this.#wide = isWanted ? this.#watchAll() : undefined
  }

  #watchAll() {
    const picture = new Picture(this.#claims)
    return { picture, watch: this.#session.watch({ prefix: '' }, picture.take) }
  }
}
