/**
 * The definition of a kind of hostile client: its preparation, and what each of its sessions does
 * until the connection closes. Also manages the hostile sessions of a job (one run of a load). A
 * fence is the number of a grant.
 */
import type { BrokerLimits, Profile } from '@holdfast/server'
import { RawSession } from '../load/rawSession.js'
import { HostileSession, type Reading } from './hostileSession.js'
import { limitsOf, sourceOf } from './origins.js'

/** The largest number of hostile sessions in one job. */
export const maxSessions = 100
/** The longest possible lease in ms, so that the sessions of `prepare` do not expire. */
const leaseMs = 300_000

export interface Kind {
  readonly name: string
  /** In a few words, how this kind of client tries to slow the broker. */
  readonly description: string
  /** The number of sessions. Default: as many as the job may still open after `prepare`. */
  readonly sessions?: number
  /** Further fields of the `hello` of each session, as JSON text that begins with a comma. */
  readonly hello?: string
  /** How the sessions read the messages of the broker. */
  readonly reading: Reading
  /** Runs once, before the sessions are opened. */
  readonly prepare?: (group: HostileGroup) => Promise<void>
  /**
   * Runs for each session until its connection closes. If the promise settles before the
   * group stops, the process opens another session with the same index.
   */
  readonly act: (session: HostileSession, group: HostileGroup, index: number) => Promise<void>
}

interface FloodingKind extends Omit<Kind, 'act'> {
  /** Makes each message. */
  readonly message: (session: HostileSession, group: HostileGroup) => string
}

/** A kind whose sessions send frames, each with many messages, as fast as possible. */
export function floodingKind({ message, ...kind }: FloodingKind): Kind {
  const act = (session: HostileSession, group: HostileGroup): Promise<void> =>
    session.flood(() => message(session, group))
  return { ...kind, act }
}

/** All hostile sessions of one job. */
export class HostileGroup {
  readonly url: string
  readonly profile: Profile
  readonly limits: BrokerLimits
  /** The fences of locks that `prepare` acquired, for example to revoke these locks. */
  readonly fences: number[] = []
  readonly #openSessions = new Set<{ destroy(): void }>()
  #sessionCount = 0
  #isOver = false
  /** The number of messages of those sessions that `drop` or `stop` has disconnected. */
  sent = 0

  constructor(url: string, profile: Profile) {
    this.url = url
    this.profile = profile
    this.limits = limitsOf(profile)
  }

  /** Whether the hostile clients must stop. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** The number of sessions that may still be opened. */
  get sessionsLeft(): number {
    return maxSessions - this.#sessionCount
  }

  /**
   * The index of a new session. The index decides the principal (authenticated user) and the
   * address of the session.
   */
  nextIndex(): number {
    return this.#sessionCount++
  }

  /**
   * Opens a session for `prepare`. The session reads all answers.
   *
   * @param fields Further fields of the `hello`: empty, or JSON text that begins with a comma.
   */
  async openPlainSession(fields = ''): Promise<RawSession> {
    const { hello, address } = sourceOf(this.profile, 'hostile', this.nextIndex())
    const session = await RawSession.open(this.url, `${hello},"lease":${leaseMs}${fields}`, address)
    this.#openSessions.add(session)
    return session
  }

  /** Opens the hostile session with this index. */
  async openSession(index: number, fields = ''): Promise<HostileSession> {
    const source = sourceOf(this.profile, 'hostile', index)
    const session = await HostileSession.open(this.url, this.limits, source, fields)
    // The group may have stopped while the session was being opened.
    if (this.#isOver) session.destroy()
    this.#openSessions.add(session)
    return session
  }

  /** Drops the connection of a hostile session, if it is still open, and forgets the session. */
  drop(session: HostileSession): void {
    this.sent += session.sent
    this.#openSessions.delete(session)
    session.destroy()
  }

  /** Drops every connection. */
  stop(): void {
    this.#isOver = true
    for (const session of this.#openSessions) {
      if (session instanceof HostileSession) this.sent += session.sent
      session.destroy()
    }
    this.#openSessions.clear()
  }
}

/** Acquires a lock, and resolves with its fence. Rejects if the broker refuses the lock. */
export function acquire(session: RawSession, key: string, fields = ''): Promise<number> {
  return new Promise((resolve, reject) => {
    const onAnswer = ({ type, fence, code }: { type: string; fence: number; code?: string }) =>
      type === 'granted'
        ? resolve(fence)
        : reject(new Error(`A hostile session was not granted a lock: ${code}`))
    session.lock(key, onAnswer, fields)
  })
}

/**
 * The field `metadata` with a value of the largest size, as JSON text that begins with a comma. The
 * size includes the two quotes.
 */
export function largeMetadata({ metadataBytes }: BrokerLimits): string {
  return `,"metadata":"${'m'.repeat(metadataBytes - 2)}"`
}
