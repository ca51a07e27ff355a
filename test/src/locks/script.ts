/**
 * The actions that a scenario of the Web Locks API can do, and the log of their effects. This file
 * runs in Node and in a page, with `navigator.locks` and with `session.locks`. Therefore this file
 * uses only the members that both implementations have.
 */

/** The members of the browser's LockManager that scenarios use. */
export type Locks = Pick<LockManager, 'request' | 'query'>

/** A request that a scenario made, with the functions that end the request. */
export interface ScriptedRequest {
  /** Ends the callback with a value, or with the outcome of a promise. */
  release(value?: unknown): void
  /** Ends the callback with an error. */
  fail(error: unknown): void
  /** Aborts the signal of the request, if the request is abortable. */
  abort(reason?: unknown): void
}

export interface ScriptedOptions extends LockOptions {
  /** Whether the request gets a signal. */
  readonly abortable?: boolean
  /** The client that makes the request. Default: {@link Script.locks}. */
  readonly locks?: Locks
}

export class Script {
  /** The client that makes the requests of the scenario. */
  readonly locks: Locks
  /** A second client of the same locks, or the same object as `locks`. */
  readonly otherLocks: Locks
  readonly log: string[] = []
  /** The length of the log after each call of `untilQuiet`. */
  readonly quietPoints: number[] = []
  /** The prefix of all names of locks in this scenario. No other scenario uses this prefix. */
  readonly prefix: string

  constructor(locks: Locks, otherLocks: Locks, prefix: string) {
    this.locks = locks
    this.otherLocks = otherLocks
    this.prefix = prefix
  }

  record(line: string): void {
    this.log.push(line)
  }

  /**
   * Requests a lock, and logs two lines that begin with the label. The first line is the argument
   * of the callback, as `granted` or `null`. The second line is how the request settled. The
   * callback runs until the scenario ends it; a callback that receives `null` ends immediately.
   */
  request(label: string, name: string, options: ScriptedOptions = {}): ScriptedRequest {
    const { abortable, locks = this.locks, ...lockOptions } = options
    const controller = new AbortController()
    let end: { resolve(value: unknown): void; reject(error: unknown): void } | undefined
    const ended = new Promise((resolve, reject) => {
      end = { resolve, reject }
    })
    // Prevents an unhandled rejection if the callback never runs.
    ended.catch(() => {})
    const requestOptions = abortable ? { ...lockOptions, signal: controller.signal } : lockOptions
    const done = locks.request(this.prefix + name, requestOptions, (lock) => {
      this.record(`${label}: ${lock === null ? 'null' : 'granted'}`)
      return lock === null ? 'none' : ended
    })
    done.then(
      (value) => this.record(`${label}: done ${String(value)}`),
      (error) => this.record(`${label}: failed ${nameOf(error)}`),
    )
    return {
      release: (value) => end?.resolve(value),
      fail: (error) => end?.reject(error),
      abort: (reason) => controller.abort(reason),
    }
  }

  /** Waits until a promise settles, and logs its value or its error. */
  async recordOutcome(label: string, promise: Promise<unknown>): Promise<void> {
    try {
      this.record(`${label}: done ${String(await promise)}`)
    } catch (error) {
      this.record(`${label}: failed ${nameOf(error)}`)
    }
  }

  /**
   * Waits until all effects have ended: until the log has not grown for three rounds, and then for
   * one more round. A round is a query and a new task for each client. An effect may need several
   * rounds, because a release and the next grant are separate messages.
   */
  async untilQuiet(): Promise<void> {
    let knownLength = -1
    for (let quietRounds = 0; quietRounds < 4; quietRounds++) {
      if (this.log.length !== knownLength) quietRounds = 0
      knownLength = this.log.length
      // The answer to a query comes after the immediate effects of all earlier requests.
      await this.locks.query()
      await untilNextTask()
      if (this.otherLocks === this.locks) continue
      await this.otherLocks.query()
      await untilNextTask()
    }
    this.quietPoints.push(this.log.length)
  }

  /**
   * Queries the held and pending locks whose names have the prefix of this scenario. Each lock is
   * `name mode`. The held locks are sorted; the pending locks are in the order of the queue.
   */
  async listOwn(): Promise<{ held: string[]; pending: string[] }> {
    const { held = [], pending = [] } = await this.locks.query()
    const own = (list: LockInfo[]) =>
      list
        .filter(({ name }) => name?.startsWith(this.prefix))
        .map(({ name, mode }) => `${name?.slice(this.prefix.length)} ${mode}`)
    return { held: own(held).sort(), pending: own(pending) }
  }

  /** Logs the held and the pending locks. */
  async recordState(): Promise<void> {
    const { held, pending } = await this.listOwn()
    this.record(
      `held: ${held.join(', ') || 'nothing'}; pending: ${pending.join(', ') || 'nothing'}`,
    )
  }
}

/**
 * Sorts the lines between one quiet point and the next, and returns the new log. The order of these
 * lines is undefined if `locks` and `otherLocks` are two sessions.
 */
export function sortedBetweenQuietPoints(
  log: readonly string[],
  quietPoints: readonly number[],
): string[] {
  const ends = [...quietPoints, log.length]
  return ends.flatMap((end, i) => log.slice(i === 0 ? 0 : ends[i - 1], end).sort())
}

/** Resolves in the next task, after all microtasks of the current task. */
export function untilNextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(undefined)
  })
}

/** The name of an error, with the message if the name is `Error`; any other value as text. */
export function nameOf(error: unknown): string {
  if (error instanceof DOMException) return `DOMException ${error.name}`
  if (error instanceof Error) return error.name === 'Error' ? `Error ${error.message}` : error.name
  return String(error)
}
