/**
 * The actions of a scenario, and its log. This file runs in Node and in a page, with
 * `navigator.locks` and with `session.locks`, so it uses only the members that they share.
 */

/** The members of the browser's LockManager that scenarios use. */
export type Locks = Pick<LockManager, 'request' | 'query'>

/** A request of a scenario, and the ways to end it. */
export interface Asked {
  /** Ends the callback with a value, or with the outcome of a promise. */
  release(value?: unknown): void
  /** Ends the callback with an error. */
  fail(error: unknown): void
  abort(reason?: unknown): void
}

/** The options of a request, and whether it has a signal. */
export interface AskOptions extends LockOptions {
  readonly abortable?: boolean
}

export class Script {
  /** Two clients of the same locks; both may be the same client. */
  readonly locks: Locks
  readonly far: Locks
  readonly log: string[] = []
  /** The length of the log at each rest, when nothing more was under way. */
  readonly rests: number[] = []
  /** The prefix of the names of this scenario, which no other scenario uses. */
  readonly prefix: string

  constructor(locks: Locks, far: Locks, prefix: string) {
    this.locks = locks
    this.far = far
    this.prefix = prefix
  }

  say(line: string): void {
    this.log.push(line)
  }

  /**
   * Requests a lock under a label, and logs the outcome: `a: granted` or `a: null`, and how the
   * promise settled. The callback runs until the scenario ends it; with `null` it ends at once.
   */
  ask(label: string, name: string, options: AskOptions = {}, locks: Locks = this.locks): Asked {
    const { abortable, ...rest } = options
    const controller = new AbortController()
    let end: { resolve(value: unknown): void; reject(error: unknown): void } | undefined
    const ended = new Promise((resolve, reject) => {
      end = { resolve, reject }
    })
    // A scenario may end before any code awaits this promise.
    ended.catch(() => {})
    const given = abortable ? { ...rest, signal: controller.signal } : rest
    const done = locks.request(this.prefix + name, given, (lock) => {
      this.say(`${label}: ${lock === null ? 'null' : 'granted'}`)
      return lock === null ? 'none' : ended
    })
    done.then(
      (value) => this.say(`${label}: done ${String(value)}`),
      (error) => this.say(`${label}: failed ${nameOf(error)}`),
    )
    return {
      release: (value) => end?.resolve(value),
      fail: (error) => end?.reject(error),
      abort: (reason) => controller.abort(reason),
    }
  }

  /** Waits until a promise settles, and logs how. */
  async outcome(label: string, promise: Promise<unknown>): Promise<void> {
    try {
      this.say(`${label}: done ${String(await promise)}`)
    } catch (error) {
      this.say(`${label}: failed ${nameOf(error)}`)
    }
  }

  /** Waits for a rest: four rounds without a new line in the log. */
  async calm(): Promise<void> {
    let known = -1
    for (let quiet = 0; quiet < 4; quiet++) {
      if (this.log.length !== known) quiet = 0
      known = this.log.length
      await this.locks.query()
      await newTask()
      if (this.far === this.locks) continue
      await this.far.query()
      await newTask()
    }
    this.rests.push(this.log.length)
  }

  /**
   * The held and pending locks of this scenario, as `name mode`, in the order of the response.
   */
  async look(): Promise<{ held: string[]; pending: string[] }> {
    const { held = [], pending = [] } = await this.locks.query()
    const own = (list: LockInfo[]) =>
      list
        .filter(({ name }) => name?.startsWith(this.prefix))
        .map(({ name, mode }) => `${name?.slice(this.prefix.length)} ${mode}`)
    return { held: own(held).sort(), pending: own(pending) }
  }

  /** Logs the held and the pending locks. */
  async sayState(): Promise<void> {
    const { held, pending } = await this.look()
    this.say(`held: ${held.join(', ') || 'nothing'}; pending: ${pending.join(', ') || 'nothing'}`)
  }
}

/**
 * The log with the lines between two rests sorted. Needed for clients that may get news in another
 * order: two sessions, or two callers in a browser.
 */
export function sortedBetween(log: readonly string[], rests: readonly number[]): string[] {
  const ends = [...rests, log.length]
  return ends.flatMap((end, i) => log.slice(i === 0 ? 0 : ends[i - 1], end).sort())
}

/** Resolves in the next task, after all microtasks of this one. */
export function newTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(undefined)
  })
}

/** The comparable part of an error or a reason: its name and type, but not its message. */
export function nameOf(error: unknown): string {
  if (error instanceof DOMException) return `DOMException ${error.name}`
  if (error instanceof Error) return error.name === 'Error' ? `Error ${error.message}` : error.name
  return String(error)
}
