/**
 * How a scenario acts and keeps its log. Runs in Node and in a page, against `navigator.locks` as
 * well as `session.locks`, so it knows neither of them: only what they have in common.
 */

/** The part of the browser's LockManager that there is. */
export type Locks = Pick<LockManager, 'request' | 'query'>

/** A request that a scenario made, and what may be done with it. */
export interface Asked {
  /** Ends the callback with a value, or what a promise comes to. */
  release(value?: unknown): void
  /** Ends the callback with an error. */
  fail(error: unknown): void
  abort(reason?: unknown): void
}

/** A request's options, and whether it is to have a signal. */
export interface AskOptions extends LockOptions {
  readonly abortable?: boolean
}

export class Script {
  /** Two clients of the same locks; they may be one and the same. */
  readonly locks: Locks
  readonly far: Locks
  readonly log: string[] = []
  /** How long the log was each time that everything had come to rest. */
  readonly rests: number[] = []
  /** Locks that no other scenario touches have names that begin so. */
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
   * Asks for a lock under a label, and logs what becomes of it: `a: granted` or `a: null`, and how
   * the promise settled. The callback goes on until it is released or fails; with `null` it is
   * over.
   */
  ask(label: string, name: string, options: AskOptions = {}, locks: Locks = this.locks): Asked {
    const { abortable, ...rest } = options
    const controller = new AbortController()
    let end: { resolve(value: unknown): void; reject(error: unknown): void } | undefined
    const ended = new Promise((resolve, reject) => {
      end = { resolve, reject }
    })
    // It may never get so far that somebody waits for this.
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

  /** Logs how a promise settles, and waits for that. */
  async outcome(label: string, promise: Promise<unknown>): Promise<void> {
    try {
      this.say(`${label}: done ${String(await promise)}`)
    } catch (error) {
      this.say(`${label}: failed ${nameOf(error)}`)
    }
  }

  /** Waits until everything that was set going has come to rest: four rounds without news. */
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
   * What is held and pending of this scenario's names, as `name mode` in the order of the answer.
   */
  async look(): Promise<{ held: string[]; pending: string[] }> {
    const { held = [], pending = [] } = await this.locks.query()
    const own = (list: LockInfo[]) =>
      list
        .filter(({ name }) => name?.startsWith(this.prefix))
        .map(({ name, mode }) => `${name?.slice(this.prefix.length)} ${mode}`)
    return { held: own(held).sort(), pending: own(pending) }
  }

  /** Logs what is held and what is pending. */
  async sayState(): Promise<void> {
    const { held, pending } = await this.look()
    this.say(`held: ${held.join(', ') || 'nothing'}; pending: ${pending.join(', ') || 'nothing'}`)
  }
}

/**
 * A log in which whatever came between two rests is sorted, for clients that do not hear of the
 * same thing at the same time: two sessions, or two callers whom a browser tells by different ways.
 */
export function sortedBetween(log: readonly string[], rests: readonly number[]): string[] {
  const ends = [...rests, log.length]
  return ends.flatMap((end, i) => log.slice(i === 0 ? 0 : ends[i - 1], end).sort())
}

/** The next task, when all that this one brought about has run. */
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

/** What may be compared of an error or a reason: sentences differ, names and kinds do not. */
export function nameOf(error: unknown): string {
  if (error instanceof DOMException) return `DOMException ${error.name}`
  if (error instanceof Error) return error.name === 'Error' ? `Error ${error.message}` : error.name
  return String(error)
}
