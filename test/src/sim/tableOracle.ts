/**
 * What must be true of every command and its effects, by a book of its own that knows nothing of
 * how the table does it: fences rise, queues are served from the front, incompatible locks never
 * meet, nobody who could hold is left waiting, and no request runs twice.
 */
import type { Command, Effect, Lock, LockTable, Request } from '@holdfast/server/core'
import type { Verdict } from './verdict.js'

interface SessionBook {
  readonly held: Set<number>
  readonly waiting: Set<number>
  /** Request ids that were granted, ever. */
  readonly granted: Set<number>
}

export class TableOracle {
  readonly #verdict: Verdict
  /** Over all brokers of a run. */
  #highestFence = 0
  #sessions = new Map<string, SessionBook>()
  /** By session: the number of the connection that is its own. */
  #attached = new Map<string, number>()
  /** By key: who waits, in the order they were queued. */
  #queues = new Map<string, Set<string>>()
  #held = 0
  #waiting = 0
  /** A broker that lost its table grants nothing for a while. */
  #isQuiet = false

  constructor(verdict: Verdict) {
    this.#verdict = verdict
  }

  /** Another broker, with an empty table; fences go on rising. */
  brokerStarted(): void {
    this.#sessions = new Map()
    this.#attached = new Map()
    this.#queues = new Map()
    this.#held = 0
    this.#waiting = 0
    this.#isQuiet = false
  }

  judge(table: LockTable, command: Command, effects: readonly Effect[]): void {
    if (command.type === 'quiet') this.#isQuiet = command.quiet
    if ('attachEpoch' in command && effects.length > 0) {
      const attach = this.#attached.get(command.session)
      if (attach !== command.attachEpoch) {
        const why = `${command.type} of ${command.session} on ${command.attachEpoch}, not ${attach}`
        this.#verdict.broken('only its own connection speaks for a session', why)
      }
    }
    const touched = new Set<string>()
    for (const effect of effects) this.#enter(effect, command, touched)
    for (const key of touched) this.#judgeKey(table, key)
    if (table.heldCount !== this.#held || table.waitingCount !== this.#waiting) {
      this.#verdict.broken('the table counts what it has', `${command.type}: ${table.heldCount}`)
    }
    if (touched.size === 0) return
    const idle = table.keys.size - this.#keysInUse(table)
    if (idle !== 0) this.#verdict.broken('idle keys are forgotten', `${idle} keys after all`)
  }

  #enter(effect: Effect, command: Command, touched: Set<string>): void {
    switch (effect.kind) {
      case 'opened':
        this.#sessions.set(effect.session.id, {
          held: new Set(),
          waiting: new Set(),
          granted: new Set(),
        })
        this.#attached.set(effect.session.id, 1)
        break
      case 'resumed':
        this.#attached.set(effect.session.id, (this.#attached.get(effect.session.id) ?? 0) + 1)
        break
      case 'queued':
        touched.add(effect.request.key)
        this.#queued(effect.request)
        break
      case 'withdrawn':
        touched.add(effect.request.key)
        this.#left(effect.request)
        break
      case 'granted':
        touched.add(effect.lock.key)
        this.#granted(effect.lock, effect.request, command)
        break
      case 'released':
        touched.add(effect.lock.key)
        this.#held--
        if (this.#sessions.get(effect.lock.session.id)?.held.delete(effect.lock.fence) !== true) {
          this.#verdict.broken('a lock is released once', `fence ${effect.lock.fence}`)
        }
        break
      case 'ended':
        this.#ended(effect.session.id)
        break
    }
  }

  #queued(request: Request): void {
    const name = nameOf(request)
    const queue = this.#queues.get(request.key) ?? new Set()
    this.#queues.set(request.key, queue)
    if (queue.has(name)) this.#verdict.broken('nothing runs twice', `${name} is queued again`)
    queue.add(name)
    this.#sessions.get(request.session.id)?.waiting.add(request.id)
    this.#waiting++
  }

  #left(request: Request): void {
    const queue = this.#queues.get(request.key)
    if (queue?.delete(nameOf(request)) !== true) {
      this.#verdict.broken('nobody leaves a queue twice', nameOf(request))
    }
    if (queue?.size === 0) this.#queues.delete(request.key)
    this.#sessions.get(request.session.id)?.waiting.delete(request.id)
    this.#waiting--
  }

  #granted(lock: Lock, request: Request | undefined, command: Command): void {
    const name = `${lock.session.id}#${lock.id}`
    if (lock.fence <= this.#highestFence) {
      this.#verdict.broken('fences rise', `${lock.fence} after ${this.#highestFence}`)
    }
    this.#highestFence = Math.max(this.#highestFence, lock.fence)
    if (this.#isQuiet && !(command.type === 'lock' && command.steal)) {
      this.#verdict.broken('a quiet broker grants nothing', name)
    }
    const queue = this.#queues.get(lock.key)
    if (request !== undefined) {
      const [first] = queue ?? []
      if (first !== name) {
        this.#verdict.broken('first come, first served', `${name} before ${first} on ${lock.key}`)
      }
      this.#left(request)
    } else if (queue !== undefined && !(command.type === 'lock' && command.steal)) {
      this.#verdict.broken('first come, first served', `${name} past the queue of ${lock.key}`)
    }
    const session = this.#sessions.get(lock.session.id)
    if (session === undefined) {
      this.#verdict.broken('only sessions hold', name)
      return
    }
    if (session.granted.has(lock.id)) this.#verdict.broken('nothing runs twice', `${name} granted`)
    session.granted.add(lock.id)
    session.held.add(lock.fence)
    this.#held++
  }

  #ended(id: string): void {
    const session = this.#sessions.get(id)
    if (session === undefined || session.held.size + session.waiting.size > 0) {
      this.#verdict.broken('a session leaves nothing behind', id)
    }
    this.#sessions.delete(id)
  }

  #judgeKey(table: LockTable, key: string): void {
    const entry = table.keys.get(key)
    let exclusive = 0
    let shared = 0
    for (const lock of entry?.holders ?? []) lock.mode === 'shared' ? shared++ : exclusive++
    if (exclusive > 1 || (exclusive > 0 && shared > 0)) {
      this.#verdict.broken('exclusion in the table', `${key}: ${exclusive} and ${shared} shared`)
    }
    const first = entry?.queue.first
    if (first === undefined || this.#isQuiet) return
    if (exclusive === 0 && (shared === 0 || first.mode === 'shared')) {
      this.#verdict.broken('one release, one grant', `${nameOf(first)} waits for a free ${key}`)
    }
  }

  #keysInUse(table: LockTable): number {
    let inUse = 0
    for (const { holders, queue } of table.keys.values()) {
      if (holders.first !== undefined || queue.first !== undefined) inUse++
    }
    return inUse
  }
}

function nameOf(request: Request): string {
  return `${request.session.id}#${request.id}`
}
