/**
 * Tells the workers what to do, kills one of them in the middle of it, and shows what happens. What
 * is shown of locks is what the broker says, through a watch.
 */
import type { ChildProcess } from 'node:child_process'
import type { LockEvent, Session } from '@holdfast/client'
import type { Screen } from './screen.js'
import type { Job, Word } from './worker.js'

/** Pauses of workers, and how long they work, in ms. */
const pauseMs = { least: 60, most: 500 }
const workMs = { least: 250, most: 900 }
/**
 * A victim has held its lock for less than this, so that it is surely not about to unlock, in ms.
 */
const freshMs = 100

interface Worker {
  readonly name: string
  readonly process: ChildProcess
  /** What it was told to work on, until it is done. */
  key: string | undefined
  askedAt: number
  isWaiting: boolean
  /** Undefined while it holds nothing. */
  grantedAt: number | undefined
}

export class Director {
  readonly #session: Session
  readonly #screen: Screen
  readonly #keys: readonly string[]
  readonly #workers = new Map<string, Worker>()
  #isStopping = false
  #onKilled: (() => void) | undefined
  /** Called when a worker has nothing to do any more. */
  #onIdle: () => void = () => {}

  constructor(session: Session, screen: Screen, keys: readonly string[]) {
    this.#session = session
    this.#screen = screen
    this.#keys = keys
    session.watch({ prefix: '' }, (event) => {
      if (event.event !== 'state' && event.event !== 'refused') this.#onEvent(event)
    })
  }

  /** A worker that is ready gets something to do. */
  add(name: string, process: ChildProcess): void {
    const worker: Worker = {
      name,
      process,
      key: undefined,
      askedAt: 0,
      isWaiting: false,
      grantedAt: undefined,
    }
    this.#workers.set(name, worker)
    process.on('message', (word: Word) => {
      if (typeof word === 'object') this.#onWaits(worker, word.behind)
      else this.#onFree(worker)
    })
    this.#onFree(worker)
  }

  /** The first worker who holds something that others wait for is killed; resolves when it is. */
  killSomebody(): Promise<void> {
    return new Promise((resolve) => {
      this.#onKilled = resolve
      this.#lookForVictim()
    })
  }

  /** Lets everybody finish; resolves when all have. */
  async stop(): Promise<void> {
    this.#isStopping = true
    const isBusy = () => [...this.#workers.values()].some(({ key }) => key !== undefined)
    while (isBusy()) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
    }
  }

  #onFree(worker: Worker): void {
    worker.key = undefined
    worker.grantedAt = undefined
    this.#onIdle()
    setTimeout(() => this.#ask(worker), between(pauseMs))
  }

  #ask(worker: Worker): void {
    if (this.#isStopping || !this.#workers.has(worker.name)) return
    const key = this.#keys[Math.floor(Math.random() * this.#keys.length)]!
    worker.key = key
    worker.askedAt = performance.now()
    worker.isWaiting = false
    this.#screen.show(worker.name, 'asks', key)
    const job: Job = { key, workMs: between(workMs) }
    worker.process.send(job)
  }

  #onWaits(worker: Worker, behind: readonly string[]): void {
    const { name, key } = worker
    // It may have been granted while the word was under way.
    if (key === undefined || worker.grantedAt !== undefined) return
    worker.isWaiting = true
    const ahead = behind.map((each) => this.#screen.name(each)).join(', ')
    this.#screen.show(name, 'waits', key, ahead === '' ? 'first in line' : `behind ${ahead}`)
    this.#lookForVictim()
  }

  #onEvent({ event, key, name = '', fence }: LockEvent): void {
    if (event === 'locked') this.#onLocked(name, key, fence)
    else if (event === 'unlocked') this.#screen.show(name, 'unlocks', key)
    else
      this.#screen.show(name, 'loses', key, 'the broker saw its socket close: no timeout, no sweep')
  }

  #onLocked(name: string, key: string, fence: number): void {
    const worker = this.#workers.get(name)
    if (worker === undefined) return
    worker.grantedAt = performance.now()
    const waitedMs = Math.round(worker.grantedAt - worker.askedAt)
    const shown = this.#screen.fence(fence)
    if (worker.isWaiting) {
      const detail = `${shown}  waited ${waitedMs} ms, asked once`
      this.#screen.show(name, 'is pushed', key, detail)
    } else this.#screen.show(name, 'takes', key, shown)
    worker.isWaiting = false
    this.#lookForVictim()
  }

  #lookForVictim(): void {
    if (this.#onKilled === undefined) return
    const workers = [...this.#workers.values()]
    for (const { name, key, grantedAt, process } of workers) {
      if (grantedAt === undefined || performance.now() - grantedAt > freshMs) continue
      if (!workers.some((other) => other.isWaiting && other.key === key)) continue
      this.#workers.delete(name)
      this.#screen.show(name, 'is killed', key!, 'kill -9, while it holds the lock')
      process.kill('SIGKILL')
      this.#onKilled()
      this.#onKilled = undefined
      return
    }
  }

  /** What the broker has counted. */
  async summary(): Promise<string> {
    const { totalLocks, unlockCount, failedLocks } = await this.#session.stats()
    return `${totalLocks} locks, ${unlockCount} given back, 1 released by a kill, ${failedLocks} failed, 0 polls`
  }
}

function between({ least, most }: { least: number; most: number }): number {
  return least + Math.random() * (most - least)
}
