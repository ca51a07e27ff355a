/**
 * One grant, as the session keeps it: until when it may be believed in, and who here uses it.
 *
 * What callers get are handles (`Lock`) on it. Usually there is one; callers who shared a request
 * have one each, and the last of them to leave gives the lock back.
 */
import type { HoldfastError, LockMode } from '@holdfast/shared'
import { callSafely } from './callSafely.js'
import type { RefreshRequest } from './requests.js'
import type { Schedule, Task } from './schedule.js'
import type { HoldTrace } from './tracing.js'
import { type Refreshing, TtlBound } from './ttl.js'

/** What a grant needs of the session that it belongs to. */
export interface GrantOwner {
  readonly schedule: Schedule
  unlock(grant: Grant): Promise<void>
  refresh(grant: Grant, ttl: number | undefined): RefreshRequest
  /** The ttl may be over at the broker. */
  expire(grant: Grant): void
}

/** Told when the grant is lost, unless it left before. */
export type Member = (error: HoldfastError) => void

export class Grant implements Task {
  readonly key: string
  readonly mode: LockMode
  readonly fence: number
  readonly ttl = new TtlBound()
  readonly #owner: GrantOwner
  readonly #members: Member[] = []
  /** Told of the end, if somebody traces. */
  trace: HoldTrace | undefined
  #lost: HoldfastError | undefined
  /** Lost, or given back by the last who had it. */
  #isOver = false

  constructor(owner: GrantOwner, key: string, mode: LockMode, fence: number) {
    this.#owner = owner
    this.key = key
    this.mode = mode
    this.fence = fence
  }

  get schedule(): Schedule {
    return this.#owner.schedule
  }

  get number(): number {
    return this.fence
  }

  /** Why it was lost; undefined while it may be believed in. */
  get lost(): HoldfastError | undefined {
    return this.#lost
  }

  /** Finds out about losses that are due, whether or not their timer has come. */
  look(): void {
    this.schedule.look()
  }

  join(member: Member): void {
    this.#members.push(member)
  }

  /** The last to leave gives the lock back; the others are done at once. */
  leave(member: Member): Promise<void> {
    const place = this.#members.indexOf(member)
    if (place >= 0) this.#members.splice(place, 1)
    if (this.#members.length > 0) return Promise.resolve()
    this.#end(undefined)
    return this.#owner.unlock(this)
  }

  refresh(ttl: number | undefined): RefreshRequest {
    return this.#owner.refresh(this, ttl)
  }

  /** Marks it lost; `tell` follows, once everything that is lost with it is marked too. */
  lose(error: HoldfastError): void {
    this.#lost ??= error
    this.#end(error)
  }

  tell(): void {
    for (const member of this.#members) member(this.#lost!)
  }

  /** The bound of the ttl has passed. */
  run(): void {
    this.#owner.expire(this)
  }

  onRefreshSent(refresh: Refreshing): void {
    this.ttl.begin(refresh)
    this.onBoundChanged()
  }

  onRefreshed(refresh: Refreshing): void {
    this.ttl.succeed(refresh)
    this.onBoundChanged()
    // Given up here, it has begun another ttl there, and nobody else could give it back.
    if (this.#lost !== undefined) void this.#owner.unlock(this)
  }

  onBoundChanged(): void {
    if (this.#isOver) return
    const { bound } = this.ttl
    if (bound === undefined) this.schedule.cancel(this)
    else this.schedule.by(this, bound)
  }

  #end(lost: HoldfastError | undefined): void {
    this.#isOver = true
    this.schedule.cancel(this)
    const { trace } = this
    this.trace = undefined
    if (trace !== undefined) callSafely(() => trace.ended(lost))
  }
}
