/**
 * The signals that this process is sent, for whoever is to have them at the time: first the wait
 * for a lock, then the command. There is no moment between at which one would end us, and leave the
 * lock behind for a whole lease.
 */
const taken = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2', 'SIGWINCH'] as const

export class Signals {
  #handler: (signal: NodeJS.Signals) => void
  /** What came while nobody could have it. */
  #missed: NodeJS.Signals[] = []

  constructor(handler: (signal: NodeJS.Signals) => void) {
    this.#handler = handler
    for (const signal of taken) process.on(signal, this.#take)
  }

  /** Keeps what comes, for the next who has it. */
  hold(): void {
    this.#handler = (signal) => this.#missed.push(signal)
  }

  give(handler: (signal: NodeJS.Signals) => void): void {
    this.#handler = handler
    for (const signal of this.#missed.splice(0)) handler(signal)
  }

  end(): void {
    for (const signal of taken) process.off(signal, this.#take)
  }

  readonly #take = (signal: NodeJS.Signals): void => this.#handler(signal)
}
