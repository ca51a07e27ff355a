/**
 * Stops a command in time. As long as the broker is heard, the lease has most of its time left;
 * when what is left is only what it takes to stop the command, it is stopped.
 */
import type { Lock, Session } from '@holdfast/client'
import { printError } from '../exitCodes.js'
import { visible } from '../print.js'

export interface LockGuardDeps {
  readonly session: Session
  readonly lock: Lock
  /** What is stopped: a command, or for `hold` this process itself. */
  readonly child: { signal(signal: NodeJS.Signals): void }
  /** What is done about a danger, for the message: "stopping the command". */
  readonly what: string
  /** From SIGTERM to SIGKILL, in ms. */
  readonly killAfterMs: number
  /** What SIGKILL itself may take, in ms. */
  readonly reserveMs: number
}

export class LockGuard {
  readonly #deps: LockGuardDeps
  #timer: NodeJS.Timeout | undefined
  #danger: string | undefined
  readonly #onJeopardy = () => this.#look()
  readonly #onAbort = () => this.#onLost()

  constructor(deps: LockGuardDeps) {
    this.#deps = deps
    const { session, lock } = deps
    session.on('jeopardy', this.#onJeopardy)
    lock.signal.addEventListener('abort', this.#onAbort)
    this.#look()
  }

  /** Why the command was stopped; undefined if it was not. */
  get danger(): string | undefined {
    return this.#danger
  }

  /** The command is dead. */
  end(): void {
    clearTimeout(this.#timer)
    this.#deps.session.off('jeopardy', this.#onJeopardy)
    this.#deps.lock.signal.removeEventListener('abort', this.#onAbort)
  }

  #look(): void {
    clearTimeout(this.#timer)
    const { session, killAfterMs, reserveMs, lock } = this.#deps
    if (!lock.held) {
      this.#onLost()
      return
    }
    const untilStop = session.leaseLeft - killAfterMs - reserveMs
    if (untilStop > 0) this.#timer = setTimeout(() => this.#look(), untilStop)
    else this.#stop('nothing is heard from the broker, and the lease is nearly over')
  }

  /** Once begun, it is gone through with: nobody survives half a SIGTERM. */
  #stop(why: string): void {
    if (this.#danger !== undefined) return
    const { child, session, killAfterMs, reserveMs } = this.#deps
    this.#danger = why
    this.#complain(why)
    child.signal('SIGTERM')
    const left = Math.max(0, Math.min(killAfterMs, session.leaseLeft - reserveMs))
    this.#timer = setTimeout(() => child.signal('SIGKILL'), left)
  }

  /** Somebody else may hold it already, or this process was stopped: there is no time to ask. */
  #onLost(): void {
    const { lock, child, killAfterMs } = this.#deps
    const why = lock.lost?.message ?? 'the lock is gone'
    if (this.#danger !== undefined) {
      child.signal('SIGKILL')
      return
    }
    this.#danger = why
    clearTimeout(this.#timer)
    this.#complain(why)
    if (wasTaken(lock)) {
      // Revoked or stolen: others hold it now, and a clean end is worth more than a quick one.
      child.signal('SIGTERM')
      this.#timer = setTimeout(() => child.signal('SIGKILL'), killAfterMs)
    } else child.signal('SIGKILL')
  }

  /** Names the key: several of our kind may write to one log. */
  #complain(why: string): void {
    const { lock, what } = this.#deps
    printError(`${visible(lock.key)}: ${visible(why)}: ${what}`)
  }
}

function wasTaken({ lost }: Lock): boolean {
  return lost?.reason === 'revoked' || lost?.reason === 'stolen'
}
