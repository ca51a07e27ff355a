/**
 * An oracle (a check of a simulated run) of the locks that clients believe they hold. After every
 * event, the oracle compares these locks with the table of the broker. A client believes in a lock
 * while `held` of the lock is true; the lock must then be in the table. In some cases the
 * documentation lets a former holder believe in its lock for longer. Then the oracle records the
 * exemption. An exemption must last at most a lease (how long the broker keeps a silent session).
 * After a steal or a revocation with several brokers, the exemption may last longer by the dead
 * time. The dead time is the silence after which a broker is declared dead. If two clients believe
 * in incompatible locks, the newer lock must have the higher fence (the number of its grant). By
 * the fence, a resource recognises the newer holder.
 */
import type { Lock as ClientLock } from '@holdfast/client'
import type { Lock, ReleaseReason } from '@holdfast/server/core'
import type { LockMode } from '@holdfast/shared'
import type { RunReport } from './runReport.js'
import type { SimProcess } from './simProcess.js'

/**
 * Why a former holder may still believe that it holds the lock. `dropped`: the session ended before
 * the lease was over, because its connection dropped or its broker drained. `restart`: the broker
 * lost its locks. In a world with a quiet start (at first, a new broker grants only steals),
 * `restart` excuses only a conflict with a steal.
 */
export type Exemption = 'stolen' | 'revoked' | 'dropped' | 'restart'

/** What a lock holds of one key. */
interface LockPart {
  readonly mode: LockMode
  /** Zero, like `capacity`, unless the mode is `permits`. */
  readonly permits: number
  readonly capacity: number
}

/** A lock that the broker has granted. */
interface GrantRecord {
  /** The first key, and its mode. */
  readonly key: string
  mode: LockMode
  /** How many calls of `downgrade` have not settled. Meanwhile the client may show the old mode. */
  pendingDowngrades: number
  /** Whether the lock was ever upgraded. The client learns of an upgrade later than the broker. */
  wasUpgraded: boolean
  /** What the lock holds of each of its keys. */
  readonly parts: Map<string, LockPart>
  readonly session: string
  readonly lease: number
  releasedAt: number | undefined
  reason: ReleaseReason | 'restart' | undefined
  exemption: Exemption | undefined
}

/** A lock that a client's program has got. */
export interface HeldLock {
  readonly lock: ClientLock
  readonly process: SimProcess
  /** Whether the program has unlocked the lock or closed its session. */
  isReturned: boolean
  /** Whether the oracle has seen that `lock.held` is false although the lock is not returned. */
  wasLost: boolean
  /** In which turn (run of the event loop) of the process the oracle first saw the loss. */
  lostInTurn: number
  /** In which turn of the process the program got the lock. */
  readonly grantedInTurn: number
}

/**
 * The factor by which a time may be longer, because clock rates differ by 1 % and times are whole
 * ms.
 */
const clockTolerance = 1.011

export interface HolderOracleDeps {
  readonly report: RunReport
  readonly now: () => number
  readonly quietStart: boolean
  /**
   * Whether the regular checks read `held` only right after the client has read its clock. At other
   * moments, this read makes the client notice a loss. The check of a new grant always reads
   * `held`.
   */
  readonly isPassive: boolean
  /**
   * The dead time in ms; 0 without a shared log. For this time, a broker that has not read the
   * newest entries of the log may still answer its clients and restart their leases.
   */
  readonly maxLogDelayMs: number
}

export class HolderOracle {
  readonly #report: RunReport
  readonly #now: () => number
  readonly #quietStart: boolean
  readonly #isPassive: boolean
  readonly #maxLogDelayMs: number
  /** The grants by fence. A lock that was upgraded is here under each of its fences. */
  readonly #grants = new Map<number, GrantRecord>()
  readonly #heldLocks = new Map<SimProcess, HeldLock[]>()
  /**
   * World time (time of the simulation) at which the broker resumed each session. An entry stays
   * until the client learns of the resume. Of several resumes, the first counts.
   */
  readonly #resumedAt = new Map<string, number>()

  constructor({ report, now, quietStart, isPassive, maxLogDelayMs }: HolderOracleDeps) {
    this.#report = report
    this.#now = now
    this.#quietStart = quietStart
    this.#isPassive = isPassive
    this.#maxLogDelayMs = maxLogDelayMs
  }

  /** A client's program has got a lock. */
  acquired(heldLock: HeldLock): void {
    const heldLocks = this.#heldLocks.get(heldLock.process) ?? []
    this.#heldLocks.set(heldLock.process, heldLocks)
    heldLocks.push(heldLock)
    // Forgets an old lock that was returned, so that the checks stay fast.
    const maxLocks = 8
    if (heldLocks.length > maxLocks) {
      const returnedIndex = heldLocks.findIndex((oldLock) => oldLock.isReturned)
      if (returnedIndex >= 0) heldLocks.splice(returnedIndex, 1)
    }
    const grant = this.#grantOf(heldLock)
    if (grant === undefined)
      this.#report.violated('a client holds only locks that the broker granted', describe(heldLock))
    else if (grant.key !== heldLock.lock.key || !hasGrantedMode(heldLock, grant)) {
      this.#report.violated('a grant has the requested key and mode', describe(heldLock))
    }
  }

  /** The table has granted a lock. A set has one lock for each key, the primary lock first. */
  granted(lock: Lock, isSteal: boolean): void {
    const { fence, key, mode, extras } = lock
    const part = { mode, permits: extras?.permits ?? 0, capacity: extras?.capacity ?? 0 }
    if (lock.isPrimary) this.#addGrant(lock)
    const grant = this.#grants.get(fence)!
    grant.parts.set(key, part)
    this.#checkOthers(grant, key, fence, isSteal)
  }

  /** A lock has become exclusive, and has a new fence. */
  upgraded({ fence, key, presentFence }: Lock): void {
    const grant = this.#grants.get(fence)
    if (grant === undefined) return
    grant.wasUpgraded = true
    this.#setMode(grant, key, 'exclusive')
    this.#grants.set(presentFence, grant)
    const isSteal = false
    this.#checkOthers(grant, key, presentFence, isSteal)
  }

  /** A lock has become shared. */
  downgraded({ fence, key }: Lock): void {
    const grant = this.#grants.get(fence)
    if (grant !== undefined) this.#setMode(grant, key, 'shared')
  }

  /** Calls `downgrade` of a lock. Until the call settles, the client may show the old mode. */
  async duringDowngrade(heldLock: HeldLock, downgrade: () => Promise<void>): Promise<void> {
    const grant = this.#grantOf(heldLock)
    if (grant !== undefined) grant.pendingDowngrades++
    try {
      await downgrade()
    } finally {
      if (grant !== undefined) grant.pendingDowngrades--
    }
  }

  /** A scope (one task) has ended. Checks that the broker has released the locks of the scope. */
  scopeEnded(heldLocks: readonly HeldLock[]): void {
    for (const heldLock of heldLocks) {
      if (this.#grantOf(heldLock)?.releasedAt !== undefined) continue
      const detail = describe(heldLock)
      this.#report.violated('a scope settles after the broker has released its locks', detail)
    }
  }

  #setMode(grant: GrantRecord, key: string, mode: LockMode): void {
    grant.mode = mode
    grant.parts.set(key, { mode, permits: 0, capacity: 0 })
  }

  #grantOf({ lock }: HeldLock): GrantRecord | undefined {
    return this.#grants.get(lock.fence)
  }

  /** Checks that no client believes in a lock that is incompatible with this new grant. */
  #checkOthers(grant: GrantRecord, key: string, fence: number, isSteal: boolean): void {
    const { mode, capacity, permits: newPermits } = grant.parts.get(key)!
    let permitSum = newPermits
    const permitHolders: HeldLock[] = []
    for (const heldLocks of this.#heldLocks.values()) {
      for (const heldLock of heldLocks) {
        const otherGrant = this.#grantOf(heldLock)
        const part = otherGrant?.parts.get(key)
        if (part === undefined || otherGrant === grant || !believes(heldLock)) continue
        if (part.mode === 'permits' && mode === 'permits') {
          // A program that asks again for a set in a scope gets a further `Lock` of the same grant.
          const isCounted = permitHolders.some((other) => this.#grantOf(other) === otherGrant)
          if (!isCounted) permitSum += part.permits
          permitHolders.push(heldLock)
        } else if (part.mode !== 'shared' || mode !== 'shared')
          this.#checkConflict(heldLock, fence, isSteal)
      }
    }
    if (permitSum <= capacity || permitHolders.length === 0) return
    // The broker grants no more than the capacity, so one of these clients believes for too long.
    const isExcused = permitHolders.some((other) => this.#grantOf(other)?.exemption !== undefined)
    if (isExcused) this.#report.count('more permits believed than the capacity')
    else {
      const detail = `${permitSum} of ${capacity} on ${key}: ${permitHolders.map(describe).join(', ')}`
      this.#report.violated('clients do not believe in more permits than the capacity', detail)
    }
  }

  #addGrant({ fence, key, mode, session }: Lock): void {
    this.#grants.set(fence, {
      key,
      mode,
      pendingDowngrades: 0,
      wasUpgraded: false,
      parts: new Map(),
      session: session.id,
      lease: session.lease,
      releasedAt: undefined,
      reason: undefined,
      exemption: undefined,
    })
  }

  /**
   * The table has released a lock.
   *
   * @param mayStillBelieve Whether the client of an ended session may still believe in the lock.
   */
  released(lock: Lock, reason: ReleaseReason, mayStillBelieve: boolean): void {
    const grant = this.#grants.get(lock.fence)
    if (grant === undefined) return
    grant.releasedAt = this.#now()
    grant.reason = reason
    if (reason === 'stolen' || reason === 'revoked') grant.exemption = reason
    else if (reason === 'ended' && mayStillBelieve) grant.exemption = 'dropped'
    if (this.#isPassive) return
    for (const heldLocks of this.#heldLocks.values()) {
      for (const heldLock of heldLocks) {
        if (this.#grantOf(heldLock) === grant) this.#check(heldLock)
      }
    }
  }

  /** The broker has resumed the session and will tell its client. */
  sessionResumed(session: string): void {
    if (!this.#resumedAt.has(session)) this.#resumedAt.set(session, this.#now())
  }

  /**
   * A client learns that its session was resumed. With the resume, the broker sends a list of the
   * session's locks. This list lacks the locks that were released before the resume, so the client
   * must not believe in these locks.
   */
  clientResumed(process: SimProcess, session: string): void {
    const resumedAt = this.#resumedAt.get(session)
    this.#resumedAt.delete(session)
    if (resumedAt === undefined) {
      this.#report.violated('only the broker resumes a session', `${process.name}: ${session}`)
      return
    }
    for (const heldLock of this.#heldLocks.get(process) ?? []) {
      const grant = this.#grantOf(heldLock)
      if (grant?.session !== session) continue
      if (grant.releasedAt === undefined || grant.releasedAt >= resumedAt) continue
      if (heldLock.lock.held)
        this.#report.violated('a resume reports all losses', describe(heldLock))
    }
  }

  /** The broker has ended and all its locks are gone. */
  brokerStopped(): void {
    for (const grant of this.#grants.values()) {
      if (grant.releasedAt !== undefined) continue
      grant.releasedAt = this.#now()
      grant.reason = 'restart'
      grant.exemption = 'restart'
    }
  }

  /** Checks the beliefs of all clients. */
  checkAll(): void {
    if (this.#isPassive) return
    for (const heldLocks of this.#heldLocks.values()) {
      for (const heldLock of heldLocks) this.#check(heldLock)
    }
  }

  /** Checks the locks that the client program in this process believes that it holds. */
  checkProcess(process: SimProcess): void {
    if (this.#isPassive && !process.hasReadFrame) return
    for (const heldLock of this.#heldLocks.get(process) ?? []) {
      // Read before `#check`, because a read of `held` compares the expiry with the clock, and then
      // aborts the signal of an expired lock.
      const wasReported = heldLock.lock.signal.aborted || heldLock.isReturned
      this.#check(heldLock)
      // Before a process handles a frame, it reads its clock, and so notices its expired locks. It
      // may miss a lock that was granted in the present turn. After its wall clock was set, it may
      // also miss a loss, because then the frame itself (an acknowledgement) may shorten the lease.
      const mustHaveReported = process.turns > heldLock.grantedInTurn && !process.clock.wasSet
      if (process.hasReadFrame && mustHaveReported && heldLock.wasLost && !wasReported) {
        this.#report.violated(
          'a client reports a loss before it handles a frame',
          describe(heldLock),
        )
      }
    }
  }

  /** The process is about to be killed. */
  forget(process: SimProcess): void {
    this.#heldLocks.delete(process)
  }

  #checkConflict(heldLock: HeldLock, fence: number, isSteal: boolean): void {
    const grant = this.#grantOf(heldLock)
    const { exemption } = grant ?? {}
    if (exemption === undefined || (exemption === 'restart' && this.#quietStart && !isSteal)) {
      this.#report.violated(
        'two clients do not believe in incompatible locks',
        `${describe(heldLock)} while ${fence} is granted`,
      )
    } else if (heldLock.lock.fence >= fence) {
      this.#report.violated(
        'the newer lock has the higher fence',
        `${describe(heldLock)} against ${fence}`,
      )
    } else this.#report.count(`two clients believed, the fence decides: ${exemption}`)
  }

  #check(heldLock: HeldLock): void {
    // A suspended or killed process runs no code, so its beliefs do not matter.
    if (!heldLock.process.isRunning) return
    const { lock } = heldLock
    if (!lock.held) {
      this.#checkLoss(heldLock)
      return
    }
    if (heldLock.wasLost) this.#report.violated('a lost lock stays lost', describe(heldLock))
    if (heldLock.isReturned)
      this.#report.violated('a client does not hold a lock after unlock', describe(heldLock))
    if (lock.signal.aborted)
      this.#report.violated('the signal of a held lock is not aborted', describe(heldLock))
    const grant = this.#grantOf(heldLock)
    if (grant?.releasedAt === undefined) {
      if (grant !== undefined && !hasGrantedMode(heldLock, grant))
        this.#report.violated('a client believes in no stronger mode', describe(heldLock))
      return
    }
    if (grant.exemption === undefined) {
      const detail = `${describe(heldLock)}: ${grant.reason} at ${grant.releasedAt.toFixed(3)}`
      this.#report.violated(
        'the holder knows of a loss before the broker releases the lock',
        detail,
      )
    } else if (this.#now() - grant.releasedAt > this.#maxBeliefMs(grant)) {
      this.#report.violated(
        'an exemption lasts at most a lease',
        `${describe(heldLock)}: ${grant.exemption}`,
      )
    } else this.#report.count(`believed after release: ${grant.exemption}`)
  }

  /** How long a former holder may still believe, in ms. */
  #maxBeliefMs({ lease, exemption }: GrantRecord): number {
    // Some brokers have perhaps not read the log entry with this release yet.
    const mayReleaseBeUnread = exemption === 'stolen' || exemption === 'revoked'
    return (lease + (mayReleaseBeUnread ? this.#maxLogDelayMs : 0)) * clockTolerance
  }

  #checkLoss(heldLock: HeldLock): void {
    if (heldLock.isReturned) return
    const { turns } = heldLock.process
    if (!heldLock.wasLost) {
      heldLock.wasLost = true
      heldLock.lostInTurn = turns
      this.#report.count('lock lost')
    }
    // A process may lose a lock between turns; the next turn must abort the signal.
    if (!heldLock.lock.signal.aborted && turns > heldLock.lostInTurn + 1) {
      this.#report.violated(
        'the signal of a lost lock is aborted',
        `${describe(heldLock)} is not aborted`,
      )
    }
  }
}

/** Whether the client believes in no stronger mode than the lock has at the broker. */
function hasGrantedMode({ lock }: HeldLock, grant: GrantRecord): boolean {
  if (lock.mode === grant.mode || grant.pendingDowngrades > 0) return true
  return grant.wasUpgraded && lock.mode === 'shared'
}

function believes(heldLock: HeldLock): boolean {
  return heldLock.process.isRunning && heldLock.lock.held
}

function describe({ lock, process }: HeldLock): string {
  return `${process.name} holds ${lock.key} (${lock.mode}) by ${lock.fence}`
}
