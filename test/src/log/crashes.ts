/**
 * Kills a broker with a journal at named points of its work while clients are busy. After each
 * crash it checks that everything that the clients were told is true: first of the table in the
 * journal, and then of the broker that starts with it.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connect, fixedInterval, type Session } from '@holdfast/client'
import { Collector } from '../e2e/stage.js'
import type { Random } from '../support/counts.js'
import { freePort } from '../support/freePort.js'
import { Ledger, tableIn } from './ledger.js'
import { type CrashPoint, crashAtVariable, crashingArgs, crashPoints } from './points.js'

const program = fileURLToPath(new URL('./programs/broker.js', import.meta.url))
const workers = 4
/** Locks that are held all the time, so that a snapshot has several chunks. */
const hoarded = 1_200
/** How often a point is passed at most before the kill. */
const visitsOf: Partial<Record<CrashPoint, number>> = {
  'before a commit': 60,
  'committed, not flushed': 60,
  'flushed, not answered': 60,
  'before a part of a snapshot': 3,
}

export interface Tally {
  /** The number of crashes by point. */
  readonly crashes: Map<CrashPoint, number>
  /** What clients were told, but is not true. */
  readonly lies: string[]
  readonly grants: number
}

/** @param onRound Called after each crash was checked. */
export async function crashAtPoints(
  rounds: number,
  random: Random,
  onRound: (point: CrashPoint, visit: number) => void = () => {},
): Promise<Tally> {
  const scene = await Scene.open(random)
  try {
    await scene.begin()
    const crashes = new Map<CrashPoint, number>()
    for (let round = 0; round < rounds; round++) {
      const point = crashPoints[round % crashPoints.length]!
      const visit = 1 + random.below(visitsOf[point] ?? 1)
      await scene.crash(point, visit)
      crashes.set(point, (crashes.get(point) ?? 0) + 1)
      onRound(point, visit)
    }
    await scene.finish()
    return { crashes, lies: scene.lies, grants: scene.grants }
  } finally {
    await scene.close()
  }
}

class Scene {
  readonly lies: string[] = []
  readonly #dir: string
  readonly #port: number
  readonly #random: Random
  readonly #ledger = new Ledger()
  readonly #sessions: Session[] = []
  /** The sessions without a connection. Copied at each change. */
  readonly #away = new Collector<ReadonlySet<Session>>()
  #work: Promise<unknown>[] = []
  #isOver = false
  #broker: ChildProcess | undefined

  private constructor(dir: string, port: number, random: Random) {
    this.#dir = dir
    this.#port = port
    this.#random = random
  }

  static async open(random: Random): Promise<Scene> {
    return new Scene(mkdtempSync(join(tmpdir(), 'holdfast-crash-')), await freePort(), random)
  }

  get grants(): number {
    return this.#ledger.grants
  }

  /** Sessions that work through all crashes. */
  async begin(): Promise<void> {
    await this.#start()
    const hoarder = await this.#join()
    const locks = Array.from({ length: hoarded }, (_, i) => hoarder.lock(`hoard ${i}`))
    for (const lock of await Promise.all(locks)) this.#ledger.granted(lock, hoarder.id)
    for (let i = 0; i < workers; i++) this.#work.push(this.#toil(await this.#join()))
  }

  /** Lets a broker run into the point, checks the rest, and leaves no broker. */
  async crash(point: CrashPoint, visit: number): Promise<void> {
    await this.#stop()
    const broker = this.#spawn({ [crashAtVariable]: `${point}:${visit}` })
    const [code, signal] = await once(broker, 'exit')
    if (signal !== 'SIGKILL') throw new Error(`the broker ended by itself (${code})`)
    // A session without a connection has read everything that the broker sent.
    await this.#away.until((items) => (items.at(-1)?.size ?? 0) === this.#sessions.length)
    this.#recordLies(`${point}, at visit ${visit}`, this.#ledger.lies(await tableIn(this.#dir)))
  }

  /** A last broker that does not crash, so that all requests complete. */
  async finish(): Promise<void> {
    await this.#start()
    await this.#away.until((items) => (items.at(-1)?.size ?? 0) === 0)
    this.#isOver = true
    await Promise.all(this.#work)
    const { heldCount, waitingCount } = await this.#sessions[0]!.query()
    if (heldCount !== hoarded || waitingCount !== 0) {
      this.#recordLies('at the end', [`${heldCount} locks and ${waitingCount} requests are left`])
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#sessions.map((session) => session.close()))
    await this.#stop()
    rmSync(this.#dir, { recursive: true, force: true })
  }

  async #toil(session: Session): Promise<void> {
    while (!this.#isOver) {
      const lock = await session.lock(`key ${this.#random.below(3)}`)
      this.#ledger.granted(lock, session.id)
      await session.stats()
      await this.#ledger.unlock(lock)
    }
  }

  async #join(): Promise<Session> {
    const session = await connect(`ws://127.0.0.1:${this.#port}`, {
      grace: 'lease',
      lease: 60_000,
      reconnect: fixedInterval({ interval: 20 }),
    })
    this.#sessions.push(session)
    const isAway = (yes: boolean) => () => {
      const away = new Set(this.#away.items.at(-1))
      if (yes) away.add(session)
      else away.delete(session)
      this.#away.add(away)
    }
    session.on('jeopardy', isAway(true))
    session.on('resumed', isAway(false))
    session.on('lost', ({ key, fence }) => {
      if (!this.#isOver) this.#recordLies('a session', [`${key} ${fence} was lost`])
    })
    return session
  }

  #recordLies(where: string, lies: readonly string[]): void {
    this.lies.push(...lies.map((lie) => `${where}: ${lie}`))
  }

  async #start(): Promise<void> {
    await once(this.#spawn({}), 'message')
  }

  #spawn(env: Readonly<Record<string, string>>): ChildProcess {
    this.#broker = fork(program, [this.#dir, String(this.#port)], {
      execArgv: crashingArgs,
      env: { ...process.env, ...env },
    })
    return this.#broker
  }

  async #stop(): Promise<void> {
    const broker = this.#broker
    this.#broker = undefined
    if (broker === undefined || broker.exitCode !== null || broker.signalCode !== null) return
    const gone = once(broker, 'exit')
    broker.kill('SIGKILL')
    await gone
  }
}
