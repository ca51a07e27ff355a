/**
 * Passes the signals that this process receives to a handler that can be exchanged: first the wait
 * for the lock, then the command. No signal is missed between two handlers, because it would end
 * this process and leave the lock held for a whole lease. Node cannot catch SIGKILL and the
 * real-time signals: they end this process, and then the watchdog kills the command.
 */
import { constants } from 'node:os'
import { withoutIgnored } from './launcher.js'

/**
 * The signals that are not passed on:
 * - SIGKILL and SIGSTOP cannot be caught.
 * - SIGTSTP, SIGTTIN and SIGTTOU come from the terminal; `Child` handles SIGTSTP.
 * - SIGCHLD, SIGPIPE and SIGXFSZ concern this process only.
 * - After SIGILL, SIGTRAP, SIGBUS, SIGFPE and SIGSEGV no JavaScript may run.
 */
const notPassed = new Set([
  ...['SIGKILL', 'SIGSTOP', 'SIGTSTP', 'SIGTTIN', 'SIGTTOU', 'SIGCHLD', 'SIGPIPE', 'SIGXFSZ'],
  ...['SIGILL', 'SIGTRAP', 'SIGBUS', 'SIGFPE', 'SIGSEGV'],
])

/** The signals that do not end a process without a handler. */
const harmless = new Set(['SIGWINCH', 'SIGCONT', 'SIGURG', 'SIGINFO'])

/**
 * The signals that are passed on, with one name for each number: SIGIO and SIGPOLL are the same.
 */
const passed = withoutIgnored([
  ...new Map(Object.entries(constants.signals).map(([name, signal]) => [signal, name])).values(),
] as NodeJS.Signals[]).filter((name) => !notPassed.has(name))

export class Signals {
  #handler: (signal: NodeJS.Signals) => void
  /** The signals that arrived after {@link hold}. */
  readonly #held: NodeJS.Signals[] = []

  constructor(handler: (signal: NodeJS.Signals) => void) {
    this.#handler = handler
    for (const signal of passed) process.on(signal, this.#onSignal)
  }

  /** Whether this signal ends a process that has no handler for it. */
  static isDeadly(signal: NodeJS.Signals): boolean {
    return !harmless.has(signal)
  }

  /** Holds signals back for the next handler. */
  hold(): void {
    this.#handler = (signal) => this.#held.push(signal)
  }

  /** Sets the handler and calls it for the signals that were held back. */
  handle(handler: (signal: NodeJS.Signals) => void): void {
    this.#handler = handler
    for (const signal of this.#held.splice(0)) handler(signal)
  }

  end(): void {
    for (const signal of passed) process.off(signal, this.#onSignal)
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => this.#handler(signal)
}
