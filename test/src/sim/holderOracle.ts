/**
 * What clients believe, held against what the broker's table says, at every event: a lock that is
 * `held` at its client is in the table. Where the documentation allows a former holder to believe
 * for a little longer, the excuse is named, is bounded by the lease, and the newer lock's fence is
 * higher.
 */
import type { Lock as ClientLock } from '@holdfast/client'
import type { Lock, ReleaseReason } from '@holdfast/server/core'
import type { SimProcess } from './process.js'
import type { Verdict } from './verdict.js'

/** Why a former holder may still believe; `restart` closes itself with a quiet start. */
export type Excuse = 'stolen' | 'revoked' | 'dropped' | 'restart'

/** A lock, by its fence, as the broker has it. */
interface Fate {
  readonly key: string
  readonly mode: 'exclusive' | 'shared'
  readonly session: string
  readonly lease: number
  releasedAt: number | undefined
  reason: ReleaseReason | 'restart' | undefined
  excuse: Excuse | undefined
}

/** A lock, as a client's program has it in its hands. */
export interface Holding {
  readonly lock: ClientLock
  readonly process: SimProcess
  /** The program has given it back, or closed its session. */
  isReturned: boolean
  /** It was seen not to be held. */
  wasLost: boolean
  /** Turn of the process in which that was first seen. */
  lostInTurn: number
  /** Turn of the process in which the program got it. */
  readonly takenInTurn: number
}

/** Clocks run at 1 % more or less, and are read in whole ms here and there. */
const clockRoom = 1.011

export interface HolderJudgeDeps {
  readonly verdict: Verdict
  readonly now: () => number
  readonly quietStart: boolean
  /** Reads what is held only right after the client has looked itself. */
  readonly isBlind: boolean
  /**
   * How long a broker may go on to answer its clients without having heard what is in the log, in
   * ms: their leases begin anew until then.
   */
  readonly unheardMs: number
}

export class HolderOracle {
  readonly #verdict: Verdict
  readonly #now: () => number
  readonly #quietStart: boolean
  readonly #isBlind: boolean
  readonly #unheardMs: number
  readonly #fates = new Map<number, Fate>()
  readonly #holdings = new Map<SimProcess, Holding[]>()
  /** When each session was first taken up since its client was last told so, in world time. */
  readonly #takenUp = new Map<string, number>()

  constructor({ verdict, now, quietStart, isBlind, unheardMs }: HolderJudgeDeps) {
    this.#verdict = verdict
    this.#now = now
    this.#quietStart = quietStart
    this.#isBlind = isBlind
    this.#unheardMs = unheardMs
  }

  /** A client's program has got a lock. */
  took(holding: Holding): void {
    const holdings = this.#holdings.get(holding.process) ?? []
    this.#holdings.set(holding.process, holdings)
    holdings.push(holding)
    if (holdings.length > 8) {
      const spent = holdings.findIndex((each) => each.isReturned)
      if (spent >= 0) holdings.splice(spent, 1)
    }
    const fate = this.#fates.get(holding.lock.fence)
    if (fate === undefined) this.#verdict.broken('only the broker grants', describe(holding))
    else if (fate.key !== holding.lock.key || fate.mode !== holding.lock.mode) {
      this.#verdict.broken('a grant is for what was asked', describe(holding))
    }
  }

  granted(lock: Lock, isSteal: boolean): void {
    const { fence, key, mode } = lock
    this.#fates.set(fence, {
      key,
      mode,
      session: lock.session.id,
      lease: lock.session.lease,
      releasedAt: undefined,
      reason: undefined,
      excuse: undefined,
    })
    for (const holdings of this.#holdings.values()) {
      for (const holding of holdings) {
        const { lock: other } = holding
        if (other.key !== key || (other.mode === 'shared' && mode === 'shared')) continue
        if (believes(holding)) this.#judgeRival(holding, fence, isSteal)
      }
    }
  }

  released(lock: Lock, reason: ReleaseReason, mayStillBelieve: boolean): void {
    const fate = this.#fates.get(lock.fence)
    if (fate === undefined) return
    fate.releasedAt = this.#now()
    fate.reason = reason
    if (reason === 'stolen' || reason === 'revoked') fate.excuse = reason
    else if (reason === 'ended' && mayStillBelieve) fate.excuse = 'dropped'
    if (this.#isBlind) return
    for (const holdings of this.#holdings.values()) {
      for (const holding of holdings) {
        if (holding.lock.fence === lock.fence) this.#judge(holding)
      }
    }
  }

  /** The broker took the session up; its client will be told. */
  takenUp(session: string): void {
    if (!this.#takenUp.has(session)) this.#takenUp.set(session, this.#now())
  }

  /**
   * The client says that its session was taken up. What had been released by then was not in the
   * snapshot, so nobody believes in it any more.
   */
  resumed(process: SimProcess, session: string): void {
    const since = this.#takenUp.get(session)
    this.#takenUp.delete(session)
    if (since === undefined) {
      this.#verdict.broken('only the broker resumes', `${process.name}: ${session}`)
      return
    }
    for (const holding of this.#holdings.get(process) ?? []) {
      const fate = this.#fates.get(holding.lock.fence)
      if (fate?.session !== session || (fate.releasedAt ?? since) >= since) continue
      if (holding.lock.held) this.#verdict.broken('a resume tells what is lost', describe(holding))
    }
  }

  /** The table is gone, and every lock in it. */
  brokerStopped(): void {
    for (const fate of this.#fates.values()) {
      if (fate.releasedAt !== undefined) continue
      fate.releasedAt = this.#now()
      fate.reason = 'restart'
      fate.excuse = 'restart'
    }
  }

  /** Looks at what everybody believes now. */
  judgeAll(): void {
    if (this.#isBlind) return
    for (const holdings of this.#holdings.values()) {
      for (const holding of holdings) this.#judge(holding)
    }
  }

  judgeProcess(process: SimProcess): void {
    if (this.#isBlind && !process.hasReadFrame) return
    for (const holding of this.#holdings.get(process) ?? []) {
      const wasTold = holding.lock.signal.aborted || holding.isReturned
      this.#judge(holding)
      // Whoever handles a frame has looked at the clock before it, at this very time. (A calendar
      // that is set makes an acknowledgement shorten the lease.)
      const isKnown = process.turns > holding.takenInTurn && !process.clock.wasSet
      if (process.hasReadFrame && isKnown && holding.wasLost && !wasTold) {
        this.#verdict.broken('losses come before frames', describe(holding))
      }
    }
  }

  /** The program is about to run no more. */
  forget(process: SimProcess): void {
    this.#holdings.delete(process)
  }

  #judgeRival(holding: Holding, fence: number, isSteal: boolean): void {
    const fate = this.#fates.get(holding.lock.fence)
    const { excuse } = fate ?? {}
    if (excuse === undefined || (excuse === 'restart' && this.#quietStart && !isSteal)) {
      this.#verdict.broken('exclusion', `${describe(holding)} while ${fence} is granted`)
    } else if (holding.lock.fence >= fence) {
      this.#verdict.broken('the fence decides', `${describe(holding)} against ${fence}`)
    } else this.#verdict.count(`two believed, fence decides: ${excuse}`)
  }

  #judge(holding: Holding): void {
    // A process that is stopped asks nothing, so what it would be told does not matter.
    if (!holding.process.isRunning) return
    const { lock } = holding
    if (!lock.held) {
      this.#judgeLoss(holding)
      return
    }
    if (holding.wasLost) this.#verdict.broken('what is lost stays lost', describe(holding))
    if (holding.isReturned) this.#verdict.broken('unlock is the end', describe(holding))
    if (lock.signal.aborted) this.#verdict.broken('the signal tells the loss', describe(holding))
    const fate = this.#fates.get(lock.fence)
    if (fate?.releasedAt === undefined) return
    if (fate.excuse === undefined) {
      const why = `${describe(holding)}: ${fate.reason} at ${fate.releasedAt.toFixed(3)}`
      this.#verdict.broken('the holder knows first', why)
    } else if (this.#now() - fate.releasedAt > this.#mostFor(fate)) {
      this.#verdict.broken('an excuse lasts a lease', `${describe(holding)}: ${fate.excuse}`)
    } else this.#verdict.count(`believed after release: ${fate.excuse}`)
  }

  /** How long a former holder may go on to believe. */
  #mostFor({ lease, excuse }: Fate): number {
    const isUnheard = excuse === 'stolen' || excuse === 'revoked'
    return (lease + (isUnheard ? this.#unheardMs : 0)) * clockRoom
  }

  #judgeLoss(holding: Holding): void {
    if (holding.isReturned) return
    const { turns } = holding.process
    if (!holding.wasLost) {
      holding.wasLost = true
      holding.lostInTurn = turns
      this.#verdict.count('lock lost')
    }
    // The loss may be seen between turns; the turn that follows must tell it.
    if (!holding.lock.signal.aborted && turns > holding.lostInTurn + 1) {
      this.#verdict.broken('the signal tells the loss', `${describe(holding)} says nothing`)
    }
  }
}

function believes(holding: Holding): boolean {
  return holding.process.isRunning && holding.lock.held
}

function describe({ lock, process }: Holding): string {
  return `${process.name} holds ${lock.key} (${lock.mode}) by ${lock.fence}`
}
