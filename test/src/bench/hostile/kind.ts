/**
 * What a kind of hostile client is: what is there before it begins, and what each of its sessions
 * does until it is cut.
 */
import type { BrokerLimits, Profile } from '@holdfast/server'
import { RawSession } from '../load/rawSession.js'
import { limitsOf, placeOf } from './crew.js'
import { HostileSession, type Reading } from './hostileSession.js'

/** All hostile sessions of a job together. */
export const mostSessions = 100

export interface Kind {
  readonly name: string
  /** Why it should hurt, in a few words. */
  readonly what: string
  /** How many sessions do it. Default: all that `prepare` has left. */
  readonly sessions?: number
  /** Further fields of the hello of each. */
  readonly hello?: string
  readonly reading: Reading
  /** Before it begins. */
  readonly prepare?: (gang: Gang) => Promise<void>
  /** One session, until it is cut. */
  readonly act: (session: HostileSession, gang: Gang) => Promise<void>
}

/** A kind whose sessions say frames of such messages, as many as they can. */
export function flooding(
  [name, what]: readonly [name: string, what: string],
  reading: Reading,
  message: (session: HostileSession, gang: Gang) => string,
  rest: Pick<Kind, 'hello' | 'prepare' | 'sessions'> = {},
): Kind {
  const act = (session: HostileSession, gang: Gang): Promise<void> =>
    session.flood(() => message(session, gang))
  return { name, what, reading, act, ...rest }
}

/** All hostile sessions of one job. */
export class Gang {
  readonly url: string
  readonly profile: Profile
  readonly limits: BrokerLimits
  /** Fences that its sessions share. */
  readonly fences: number[] = []
  readonly #open = new Set<{ destroy(): void }>()
  #places = 0
  #isOver = false
  said = 0

  constructor(url: string, profile: Profile) {
    this.url = url
    this.profile = profile
    this.limits = limitsOf(profile)
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Places that are left for sessions. */
  get placesLeft(): number {
    return mostSessions - this.#places
  }

  takePlace(): number {
    return this.#places++
  }

  /** A session that does as it is told, which `prepare` has use for. */
  async helper(fields = ''): Promise<RawSession> {
    const { hello, address } = placeOf(this.profile, 'hostile', this.takePlace())
    const session = await RawSession.open(this.url, `${hello},"lease":300000${fields}`, address)
    this.#open.add(session)
    return session
  }

  async session(place: number, fields = ''): Promise<HostileSession> {
    const where = placeOf(this.profile, 'hostile', place)
    const session = await HostileSession.open(this.url, this.limits, where, fields)
    if (this.#isOver) session.destroy()
    this.#open.add(session)
    return session
  }

  forget(session: HostileSession): void {
    this.said += session.said
    this.#open.delete(session)
    session.destroy()
  }

  /** Drops every connection. */
  stop(): void {
    this.#isOver = true
    for (const session of this.#open) {
      if (session instanceof HostileSession) this.said += session.said
      session.destroy()
    }
    this.#open.clear()
  }
}

/** Takes a lock that must be free, or shared; resolves with its fence. */
export function take(session: RawSession, key: string, fields = ''): Promise<number> {
  return new Promise((resolve, reject) => {
    const onAnswer = ({ type, fence, code }: { type: string; fence: number; code?: string }) =>
      type === 'granted' ? resolve(fence) : reject(new Error(`not granted: ${code}`))
    session.lock(key, onAnswer, fields)
  })
}

/** Metadata as large as it can be, as it stands in a message. */
export function largeMetadata({ metadataBytes }: BrokerLimits): string {
  return `,"metadata":"${'m'.repeat(metadataBytes - 2)}"`
}
