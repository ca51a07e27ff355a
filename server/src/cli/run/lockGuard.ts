/**
 * Stops a command before the broker can grant the lock of the command to another session. The
 * broker keeps the lock for a certain time, the lease, after the last message of this client. While
 * the broker answers, the client renews the lease early. If the broker does not answer, the guard
 * stops the command early enough that the command ends before the lease does. The guard also stops
 * the command before the longest hold (`--max-hold`, or the limit of the operator) is over.
 */
import type { Lock, Session } from '@holdfast/client'
import { printError } from '../exitCodes.js'
import { escapeText } from '../output.js'

export interface LockGuardDeps {
  readonly session: Session
  readonly lock: Lock
  /** The command that is stopped; for `hold`, this process. */
  readonly child: { signal(signal: NodeJS.Signals): void }
  /** The end of the message about the stop, such as "stopping the command". */
  readonly action: string
  /** Time from SIGTERM to SIGKILL, in ms. */
  readonly killAfterMs: number
  /** Time that SIGKILL may take to end the command, in ms. */
  readonly reserveMs: number
}

/** Guards the lock of one command while the command runs. */
export class LockGuard {
  readonly #deps: LockGuardDeps
  #timer: NodeJS.Timeout | undefined
  #stopReason: string | undefined
  /**
   * When the command gets SIGKILL at the latest, by `performance.now`; undefined before SIGTERM.
   */
  #killAt: number | undefined
  /** Handles the event `jeopardy`: the broker does not answer, so the lease may end. */
  readonly #onJeopardy = () => this.#check()
  readonly #onAbort = () => this.#onLost()

  constructor(deps: LockGuardDeps) {
    this.#deps = deps
    const { session, lock } = deps
    session.on('jeopardy', this.#onJeopardy)
    lock.signal.addEventListener('abort', this.#onAbort)
    this.#check()
  }

  /** Why the guard stopped the command; undefined if the guard did not stop the command. */
  get stopReason(): string | undefined {
    return this.#stopReason
  }

  /** Stops guarding. Call this method when the command has ended. */
  end(): void {
    clearTimeout(this.#timer)
    this.#deps.session.off('jeopardy', this.#onJeopardy)
    this.#deps.lock.signal.removeEventListener('abort', this.#onAbort)
  }

  /** Stops the command if the time has come; otherwise sets a timer for that time. */
  #check(): void {
    if (this.#stopReason !== undefined) {
      this.#setKillTimer()
      return
    }
    clearTimeout(this.#timer)
    const { session, killAfterMs, reserveMs, lock } = this.#deps
    if (!lock.held) {
      this.#onLost()
      return
    }
    const msUntilStop = this.#timeLeftMs - killAfterMs - reserveMs
    if (msUntilStop > 0) this.#timer = setTimeout(() => this.#check(), msUntilStop)
    else if (lock.holdLeft < session.leaseLeft) this.#stop('the longest hold is nearly over')
    else this.#stop('the broker does not answer, and the lease is nearly over')
  }

  /** For how long the broker will certainly not grant the lock to another session, in ms. */
  get #timeLeftMs(): number {
    const { session, lock } = this.#deps
    return Math.min(session.leaseLeft, lock.holdLeft)
  }

  /**
   * Stops the command with SIGTERM, and later with SIGKILL. An answer of the broker between the two
   * signals does not prevent the SIGKILL, because the SIGTERM cannot be undone.
   */
  #stop(reason: string): void {
    this.#stopReason = reason
    this.#report(reason)
    this.#terminate()
  }

  /** Sends SIGTERM now and SIGKILL later. */
  #terminate(): void {
    const { child, killAfterMs } = this.#deps
    child.signal('SIGTERM')
    this.#killAt = performance.now() + killAfterMs
    this.#setKillTimer()
  }

  /** Makes SIGKILL come in time, also if the lease has become shorter since SIGTERM. */
  #setKillTimer(): void {
    // Without SIGTERM, the command has got SIGKILL at once.
    if (this.#killAt === undefined) return
    const { child, reserveMs, lock } = this.#deps
    const msUntilKill = this.#killAt - performance.now()
    // After a loss, no lease limits the time of the command.
    const limitMs = lock.held ? this.#timeLeftMs - reserveMs : msUntilKill
    clearTimeout(this.#timer)
    this.#timer = setTimeout(
      () => child.signal('SIGKILL'),
      Math.max(0, Math.min(msUntilKill, limitMs)),
    )
  }

  /** Handles the loss of the lock. */
  #onLost(): void {
    const { lock, child } = this.#deps
    if (this.#stopReason !== undefined) {
      // The command has had a SIGTERM, and no time is left.
      child.signal('SIGKILL')
      return
    }
    const reason = lock.lost?.message ?? 'the lock is lost'
    this.#stopReason = reason
    clearTimeout(this.#timer)
    this.#report(reason)
    if (wasTaken(lock)) {
      // The lock was revoked or stolen, so another session may hold the lock already. Even a
      // SIGKILL now would come too late, so the command gets the time to end cleanly.
      this.#terminate()
    } else {
      // The lock is lost for this client, but the broker may not have granted the lock again yet.
      child.signal('SIGKILL')
    }
  }

  /** Prints the reason with the key, because several commands may write to one log file. */
  #report(reason: string): void {
    const { lock, action } = this.#deps
    printError(`${escapeText(lock.key)}: ${escapeText(reason)}: ${action}`)
  }
}

/** Whether another client took the lock away, so that the lock may have a new holder already. */
function wasTaken({ lost }: Lock): boolean {
  return lost?.reason === 'revoked' || lost?.reason === 'stolen'
}
