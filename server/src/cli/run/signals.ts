/**
 * Passes the signals that this process receives to a handler. The handler can be replaced: the
 * first handler ends the wait for the lock, and a later handler passes signals to the command that
 * runs with the lock. Until the lock is released, this process catches all signals in `passedOn`,
 * because most of them would otherwise end this process. The broker would then keep the lock for a
 * whole lease, the time for which the broker keeps the session of a silent client.
 *
 * Node cannot catch SIGKILL and the real-time signals. They end this process, and then the watchdog
 * (a shell that watches this process) kills the command.
 */
import { constants } from 'node:os'
import { withoutIgnored } from './launcher.js'

/** The signals that are not passed on. */
const notPassedOn = new Set([
  // SIGKILL and SIGSTOP cannot be caught.
  'SIGKILL',
  'SIGSTOP',
  // These signals suspend a process; `Child` handles SIGTSTP.
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
  // These signals concern this process only.
  'SIGCHLD',
  'SIGPIPE',
  'SIGXFSZ',
  // After these signals, no JavaScript may run.
  'SIGILL',
  'SIGTRAP',
  'SIGBUS',
  'SIGFPE',
  'SIGSEGV',
])

/** The signals that are passed on, but whose default action does not end a process. */
const harmless = new Set(['SIGWINCH', 'SIGCONT', 'SIGURG', 'SIGINFO'])

/**
 * The signals that are passed on: without the signals that were ignored at the start, which stay
 * ignored. SIGIO and SIGPOLL have the same number, and the `Map` keeps one name for each number.
 */
const passedOn = withoutIgnored([
  ...new Map(Object.entries(constants.signals).map(([name, signal]) => [signal, name])).values(),
] as NodeJS.Signals[]).filter((name) => !notPassedOn.has(name))

/** Catches the signals of this process, and passes each signal to the current handler. */
export class Signals {
  #handler: (signal: NodeJS.Signals) => void
  /** The signals that arrived after {@link holdBack}. */
  readonly #heldBack: NodeJS.Signals[] = []

  constructor(handler: (signal: NodeJS.Signals) => void) {
    this.#handler = handler
    for (const signal of passedOn) process.on(signal, this.#onSignal)
  }

  /** Whether this signal, one of `passedOn`, ends a process that does not handle the signal. */
  static isDeadly(signal: NodeJS.Signals): boolean {
    return !harmless.has(signal)
  }

  /** From now on, keeps each arriving signal until {@link handle} sets the next handler. */
  holdBack(): void {
    this.#handler = (signal) => this.#heldBack.push(signal)
  }

  /** Sets the handler, and calls the handler for the signals that were held back. */
  handle(handler: (signal: NodeJS.Signals) => void): void {
    this.#handler = handler
    for (const signal of this.#heldBack.splice(0)) handler(signal)
  }

  /** Passes no more signals on. After this call, a signal ends this process as usual. */
  end(): void {
    for (const signal of passedOn) process.off(signal, this.#onSignal)
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => this.#handler(signal)
}
