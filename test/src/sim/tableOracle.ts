/**
 * An oracle (a check of a simulated run) of the lock table. The oracle compares every command and
 * its effects with its own records, which do not depend on the code of the table. The main rules:
 *
 * - Each grant has a higher fence (number of the grant) than all earlier grants.
 * - Queues are first come, first served.
 * - Incompatible locks are never held together.
 * - The table grants a lock to a waiter as soon as the waiter can hold the lock.
 * - No request runs twice.
 */
import type { Command, Effect, Lock, LockTable, Request } from '@holdfast/server/core'
import type { RunReport } from './runReport.js'

/** The locks and requests of a session. A set is one request for several keys. */
interface SessionRecord {
  /** The held locks by fence and key, because the locks of a set have the same fence. */
  readonly held: Set<string>
  /** The waiting requests by id and key, because the requests of a set have the same id. */
  readonly waiting: Set<string>
  /** The requests that were ever granted, by id and key. */
  readonly granted: Set<string>
}

export class TableOracle {
  readonly #report: RunReport
  /** The highest fence that any broker of the run has granted. */
  #highestFence = 0
  #sessions = new Map<string, SessionRecord>()
  /** By session: the attach epoch, which numbers the connections of the session. */
  #attachEpochs = new Map<string, number>()
  /** By key: the waiting requests in the order of their queueing. */
  #queues = new Map<string, Set<string>>()
  /**
   * By key: the waiting upgrade, which will make a shared lock exclusive. An upgrade stands in no
   * queue.
   */
  #upgrades = new Map<string, string>()
  /**
   * The keys whose waiters could not all be granted by one command, because one command makes a
   * limited number of grants. A later command continues.
   */
  #unfinished = new Set<string>()
  /** The numbers of held locks and of waiting requests. A set counts once for each of its keys. */
  #heldCount = 0
  #waitingCount = 0
  /**
   * Whether the broker is quiet. A broker that lost its table grants no locks until the leases of
   * earlier sessions are over.
   */
  #isQuiet = false

  constructor(report: RunReport) {
    this.#report = report
  }

  /**
   * Called when a new broker has started with an empty table after the end of the former broker.
   * Forgets the locks and sessions of the former table. The new fences must continue to rise.
   */
  brokerStarted(): void {
    this.#sessions = new Map()
    this.#attachEpochs = new Map()
    this.#queues = new Map()
    this.#upgrades = new Map()
    this.#unfinished = new Set()
    this.#heldCount = 0
    this.#waitingCount = 0
    this.#isQuiet = false
  }

  /** Checks a command, its effects, and the table after the command. */
  check(table: LockTable, command: Command, effects: readonly Effect[]): void {
    if (command.type === 'quiet') this.#isQuiet = command.quiet
    if (command.type === 'grantUnfinishedKeys')
      for (const key of command.keys) this.#unfinished.delete(key)
    // A command of a replaced connection must have no effects.
    if ('attachEpoch' in command && effects.length > 0) {
      const epoch = this.#attachEpochs.get(command.session)
      if (epoch !== command.attachEpoch) {
        const detail = `${command.type} of ${command.session} in epoch ${command.attachEpoch}, not ${epoch}`
        this.#report.violated('only the current connection of a session sends its commands', detail)
      }
    }
    const changedKeys = new Set<string>()
    for (const effect of effects) this.#record(effect, command, changedKeys)
    for (const key of changedKeys) this.#checkKey(table, key)
    if (table.heldCount !== this.#heldCount || table.waitingCount !== this.#waitingCount) {
      this.#report.violated(
        'the counts of the table are right',
        `${command.type}: ${table.heldCount}`,
      )
    }
    if (changedKeys.size === 0) return
    const unusedCount = table.keys.size - this.#countKeysInUse(table)
    if (unusedCount !== 0)
      this.#report.violated('the table drops unused keys', `${unusedCount} unused keys`)
  }

  #record(effect: Effect, command: Command, changedKeys: Set<string>): void {
    switch (effect.kind) {
      case 'opened':
        this.#sessions.set(effect.session.id, {
          held: new Set(),
          waiting: new Set(),
          granted: new Set(),
        })
        this.#attachEpochs.set(effect.session.id, 1)
        break
      case 'resumed':
        this.#attachEpochs.set(
          effect.session.id,
          (this.#attachEpochs.get(effect.session.id) ?? 0) + 1,
        )
        break
      case 'unfinished':
        this.#unfinished.add(effect.request.key)
        break
      case 'queued':
        changedKeys.add(effect.request.key)
        this.#queued(effect.request)
        break
      case 'withdrawn':
        changedKeys.add(effect.request.key)
        this.#dequeued(effect.request)
        break
      case 'granted':
        changedKeys.add(effect.lock.key)
        this.#granted(effect.lock, effect.request, command)
        break
      case 'upgraded':
        changedKeys.add(effect.lock.key)
        this.#upgraded(effect.lock, effect.request)
        break
      case 'downgraded':
        changedKeys.add(effect.lock.key)
        break
      case 'released':
        changedKeys.add(effect.lock.key)
        this.#heldCount--
        if (
          this.#sessions.get(effect.lock.session.id)?.held.delete(heldName(effect.lock)) !== true
        ) {
          this.#report.violated('a lock is released once', `fence ${effect.lock.fence}`)
        }
        break
      case 'ended':
        this.#ended(effect.session.id)
        break
    }
  }

  #queued(request: Request): void {
    const name = nameOf(request)
    this.#waitingCount++
    if (request.upgradedLock !== undefined) {
      if (this.#upgrades.has(request.key))
        this.#report.violated('a key has at most one waiting upgrade', name)
      this.#upgrades.set(request.key, name)
      return
    }
    const queue = this.#queues.get(request.key) ?? new Set()
    this.#queues.set(request.key, queue)
    if (queue.has(name))
      this.#report.violated('a request runs once', `${name} is queued a second time`)
    queue.add(name)
    this.#sessions.get(request.session.id)?.waiting.add(`${request.id} ${request.key}`)
  }

  #dequeued(request: Request): void {
    this.#waitingCount--
    if (request.upgradedLock !== undefined) {
      if (this.#upgrades.get(request.key) !== nameOf(request))
        this.#report.violated('a waiter leaves a queue once', nameOf(request))
      this.#upgrades.delete(request.key)
      return
    }
    const queue = this.#queues.get(request.key)
    if (queue?.delete(nameOf(request)) !== true) {
      this.#report.violated('a waiter leaves a queue once', nameOf(request))
    }
    if (queue?.size === 0) this.#queues.delete(request.key)
    this.#sessions.get(request.session.id)?.waiting.delete(`${request.id} ${request.key}`)
  }

  #granted(lock: Lock, request: Request | undefined, command: Command): void {
    // This is also the name of the request, because a lock has the id of its request.
    const name = `${lock.session.id}#${lock.id}`
    // The locks of a set have the fence of the primary lock, which is granted first.
    const isFenceRight = lock.isPrimary
      ? lock.fence > this.#highestFence
      : lock.fence === this.#highestFence
    if (!isFenceRight) {
      this.#report.violated('fences rise', `${lock.fence} after ${this.#highestFence}`)
    }
    this.#highestFence = Math.max(this.#highestFence, lock.fence)
    if (this.#isQuiet && !(command.type === 'lock' && command.steal)) {
      this.#report.violated('a quiet broker grants only steals', name)
    }
    if (this.#upgrades.has(lock.key))
      this.#report.violated('no lock is granted on a key with a waiting upgrade', name)
    const queue = this.#queues.get(lock.key)
    if (request !== undefined) {
      const [firstName] = queue ?? []
      if (firstName !== name) {
        this.#report.violated(
          'a queue is first come, first served',
          `${name} before ${firstName} on ${lock.key}`,
        )
      }
      this.#dequeued(request)
    } else if (queue !== undefined && !(command.type === 'lock' && command.steal)) {
      this.#report.violated(
        'a queue is first come, first served',
        `${name} past the queue of ${lock.key}`,
      )
    }
    const session = this.#sessions.get(lock.session.id)
    if (session === undefined) {
      this.#report.violated('only an open session holds a lock', name)
      return
    }
    const grantName = `${lock.id} ${lock.key}`
    if (session.granted.has(grantName))
      this.#report.violated('a request runs once', `${name} granted`)
    session.granted.add(grantName)
    session.held.add(heldName(lock))
    this.#heldCount++
  }

  /**
   * Checks the fence that the upgrade gives to the lock: its `presentFence`. Checks no queue,
   * because an upgrade overtakes every queue.
   */
  #upgraded(lock: Lock, request: Request | undefined): void {
    const name = `${lock.session.id}#${lock.id}`
    if (lock.presentFence <= this.#highestFence)
      this.#report.violated('fences rise', `${lock.presentFence} after ${this.#highestFence}`)
    this.#highestFence = Math.max(this.#highestFence, lock.presentFence)
    if (this.#isQuiet) this.#report.violated('a quiet broker grants only steals', name)
    if (request !== undefined) this.#dequeued(request)
  }

  #ended(id: string): void {
    const session = this.#sessions.get(id)
    if (session === undefined || session.held.size + session.waiting.size > 0) {
      this.#report.violated('an ended session has no locks and no waiters', id)
    }
    this.#sessions.delete(id)
  }

  #checkKey(table: LockTable, key: string): void {
    const state = table.keys.get(key)
    const holders = [...(state?.holders ?? [])]
    if (!areCompatible(holders)) {
      const modes = holders.map((lock) => `${lock.mode} ${lock.extras?.permits ?? ''}`.trim())
      this.#report.violated('the table holds no incompatible locks', `${key}: ${modes.join(', ')}`)
    }
    if (this.#isQuiet || this.#unfinished.has(key)) return
    if (this.#upgrades.has(key) && holders.length === 1) {
      const detail = `${this.#upgrades.get(key)} holds the only lock of ${key}`
      this.#report.violated('an upgrade is granted when its lock is the only lock', detail)
    }
    const first = state?.queue.first
    if (first === undefined) return
    // The table grants all requests of a set together.
    const requests = first.extras?.set?.requests ?? [first]
    const canHold = requests.every(
      (request) =>
        // A set may wait for a later command that grants the waiters of any of its keys.
        !this.#unfinished.has(request.key) &&
        !this.#upgrades.has(request.key) &&
        [...(this.#queues.get(request.key) ?? [])][0] === nameOf(request) &&
        areCompatible([...(table.keys.get(request.key)?.holders ?? []), request]),
    )
    if (canHold) {
      this.#report.violated(
        'a waiter that can hold the lock gets the lock',
        `${nameOf(first)} waits for a free ${key}`,
      )
    }
  }

  #countKeysInUse(table: LockTable): number {
    let count = 0
    for (const { holders, queue } of table.keys.values()) {
      if (holders.first !== undefined || queue.first !== undefined) count++
    }
    return count
  }
}

/** Whether these locks and requests may be held on one key together. */
function areCompatible(locks: readonly (Lock | Request)[]): boolean {
  if (locks.length < 2) return true
  const [{ mode, extras }] = locks as [Lock]
  if (mode === 'exclusive' || locks.some((lock) => lock.mode !== mode)) return false
  if (mode === 'shared') return true
  const permits = locks.reduce((sum, lock) => sum + (lock.extras?.permits ?? 0), 0)
  return permits <= (extras?.capacity ?? 0)
}

function heldName({ fence, key }: Lock): string {
  return `${fence} ${key}`
}

function nameOf(request: Request): string {
  return `${request.session.id}#${request.id}`
}
