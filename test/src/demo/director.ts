/**
 * The director of the demo: gives jobs to the workers, kills one worker while that worker holds a
 * lock, and prints the events. The director hears of locks by a watch at the broker. The line of a
 * grant shows the fence, which is the number of the grant.
 */
import type { ChildProcess } from 'node:child_process'
import type { LockEvent, Session } from '@holdfast/client'
import type { Screen } from './screen.js'
import type { Job, WorkerMessage } from './worker.js'

/** How long a worker pauses before a job, in ms. */
const pauseMs = { min: 60, max: 500 }
/** How long a worker holds a lock, in ms. */
const workMs = { min: 250, max: 900 }
/**
 * The director kills a worker only within this time after its grant, in ms. The time is shorter
 * than `workMs.min`, so the worker still holds the lock.
 */
const maxHeldMs = 100

interface Worker {
  readonly name: string
  readonly process: ChildProcess
  /** The key of the current job; undefined without a job. */
  key: string | undefined
  /** When the worker got its current job, in ms by the monotonic clock. */
  jobAt: number
  /** Whether the worker has reported that it waits for its lock. */
  isWaiting: boolean
  /** When the worker got its lock, by the same clock; undefined while the worker holds no lock. */
  grantedAt: number | undefined
}

export class Director {
  readonly #session: Session
  readonly #screen: Screen
  readonly #keys: readonly string[]
  readonly #workers = new Map<string, Worker>()
  #isStopping = false
  /** Resolves the promise of `killHolder`; undefined while no call of `killHolder` is pending. */
  #onKilled: (() => void) | undefined
  /** Called when a worker has no job any more. Lets {@link stop} look again. */
  #onJobEnd: () => void = () => {}

  constructor(session: Session, screen: Screen, keys: readonly string[]) {
    this.#session = session
    this.#screen = screen
    this.#keys = keys
    // An empty prefix matches all keys. The state at the beginning and a refused watch get no line.
    session.watch({ prefix: '' }, (event) => {
      if (event.event !== 'state' && event.event !== 'refused') this.#onEvent(event)
    })
  }

  /** Adds a worker that is ready, and gives jobs to the worker until {@link stop}. */
  add(name: string, process: ChildProcess): void {
    const worker: Worker = {
      name,
      process,
      key: undefined,
      jobAt: 0,
      isWaiting: false,
      grantedAt: undefined,
    }
    this.#workers.set(name, worker)
    process.on('message', (message: WorkerMessage) => {
      // `ready` arrived before this listener existed, so a message without `behind` is `done`.
      if (typeof message === 'object') this.#onWaits(worker, message.behind)
      else this.#onFree(worker)
    })
    this.#onFree(worker)
  }

  /** Kills the first worker that holds a lock for which others wait. Resolves after the kill. */
  killHolder(): Promise<void> {
    return new Promise((resolve) => {
      this.#onKilled = resolve
      this.#lookForVictim()
    })
  }

  /** Gives no further jobs. Resolves when all workers have finished their jobs. */
  async stop(): Promise<void> {
    this.#isStopping = true
    const isBusy = () => [...this.#workers.values()].some(({ key }) => key !== undefined)
    while (isBusy()) {
      await new Promise<void>((resolve) => {
        this.#onJobEnd = resolve
      })
    }
  }

  #onFree(worker: Worker): void {
    worker.key = undefined
    worker.grantedAt = undefined
    this.#onJobEnd()
    setTimeout(() => this.#giveJob(worker), randomBetween(pauseMs))
  }

  #giveJob(worker: Worker): void {
    // `#workers` no longer has the worker that was killed.
    if (this.#isStopping || !this.#workers.has(worker.name)) return
    const key = this.#keys[Math.floor(Math.random() * this.#keys.length)]!
    worker.key = key
    worker.jobAt = performance.now()
    worker.isWaiting = false
    this.#screen.show(worker.name, 'asks', key)
    const job: Job = { key, workMs: randomBetween(workMs) }
    worker.process.send(job)
  }

  #onWaits(worker: Worker, behind: readonly string[]): void {
    const { name, key } = worker
    // The broker may have granted the lock before this message of the worker arrived.
    if (key === undefined || worker.grantedAt !== undefined) return
    worker.isWaiting = true
    const names = behind.map((waiter) => this.#screen.name(waiter)).join(', ')
    this.#screen.show(name, 'waits', key, names === '' ? 'first in line' : `behind ${names}`)
    this.#lookForVictim()
  }

  #onEvent({ event, key, name = '', fence }: LockEvent): void {
    if (event === 'locked') this.#onLocked(name, key, fence)
    else if (event === 'unlocked') this.#screen.show(name, 'unlocks', key)
    // Only the killed worker loses a lock.
    else
      this.#screen.show(name, 'loses', key, 'the broker freed the lock when the connection closed')
  }

  #onLocked(name: string, key: string, fence: number): void {
    const worker = this.#workers.get(name)
    if (worker === undefined) return
    worker.grantedAt = performance.now()
    const waitedMs = Math.round(worker.grantedAt - worker.jobAt)
    const fenceText = this.#screen.fence(fence)
    if (worker.isWaiting) {
      const detail = `${fenceText}  waited ${waitedMs} ms, asked once`
      this.#screen.show(name, 'gets', key, detail)
    } else this.#screen.show(name, 'takes', key, fenceText)
    worker.isWaiting = false
    this.#lookForVictim()
  }

  /** During a call of `killHolder`: kills a worker whose lock another worker waits for. */
  #lookForVictim(): void {
    if (this.#onKilled === undefined) return
    const workers = [...this.#workers.values()]
    for (const { name, key, grantedAt, process } of workers) {
      if (grantedAt === undefined || performance.now() - grantedAt > maxHeldMs) continue
      if (!workers.some((other) => other.isWaiting && other.key === key)) continue
      this.#workers.delete(name)
      this.#screen.show(name, 'is killed', key!, 'kill -9, while it holds the lock')
      process.kill('SIGKILL')
      this.#onKilled()
      this.#onKilled = undefined
      return
    }
  }

  /**
   * A sentence about the whole demo, from the counters of the broker. `1 lost` and `0 polls` are
   * constant, because the demo always kills one worker, and no client polls.
   */
  async summary(): Promise<string> {
    const { totalLocks, unlockCount, failedLocks } = await this.#session.stats()
    return `${totalLocks} locks, ${unlockCount} unlocked, 1 lost by a kill, ${failedLocks} failed, 0 polls`
  }
}

function randomBetween({ min, max }: { min: number; max: number }): number {
  return min + Math.random() * (max - min)
}
