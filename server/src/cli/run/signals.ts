/**
 * The signals that this process is sent, for the one who handles them at the time: first the wait
 * for a lock, then the command. There is no moment between at which one would end us, and leave the
 * lock behind for a whole lease. Node has no names for the real-time signals and cannot catch
 * SIGKILL: they end this process, and the watchdog ends the command.
 */
import { constants } from 'node:os'
import { heeded } from './launcher.js'

/**
 * Not to be passed on. SIGKILL and SIGSTOP cannot be caught; SIGTSTP, SIGTTIN and SIGTTOU are the
 * terminal's, see `Child`; SIGCHLD, SIGPIPE and SIGXFSZ are about what this process itself does;
 * after a fault of the machine no JavaScript may run.
 */
const ours = new Set([
  ...['SIGKILL', 'SIGSTOP', 'SIGTSTP', 'SIGTTIN', 'SIGTTOU', 'SIGCHLD', 'SIGPIPE', 'SIGXFSZ'],
  ...['SIGILL', 'SIGTRAP', 'SIGBUS', 'SIGFPE', 'SIGSEGV'],
])

/** What a process that has not asked for them does not notice. */
const harmless = new Set(['SIGWINCH', 'SIGCONT', 'SIGURG', 'SIGINFO'])

/** One name for each: SIGIO and SIGPOLL are the same. */
const passed = heeded([
  ...new Map(Object.entries(constants.signals).map(([name, number]) => [number, name])).values(),
] as NodeJS.Signals[]).filter((name) => !ours.has(name))

export class Signals {
  #handler: (signal: NodeJS.Signals) => void
  /** What came while no handler was there. */
  readonly #missed: NodeJS.Signals[] = []

  constructor(handler: (signal: NodeJS.Signals) => void) {
    this.#handler = handler
    for (const signal of passed) process.on(signal, this.#onSignal)
  }

  /** Whether a process ends by this signal that has not asked for it. */
  static isDeadly(signal: NodeJS.Signals): boolean {
    return !harmless.has(signal)
  }

  /** Keeps what comes, for the next handler. */
  hold(): void {
    this.#handler = (signal) => this.#missed.push(signal)
  }

  give(handler: (signal: NodeJS.Signals) => void): void {
    this.#handler = handler
    for (const signal of this.#missed.splice(0)) handler(signal)
  }

  end(): void {
    for (const signal of passed) process.off(signal, this.#onSignal)
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => this.#handler(signal)
}
