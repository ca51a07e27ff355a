/**
 * Kills a broker with a journal at named points of its work while clients are busy, and judges
 * after each crash whether all that they were told is true: first of the table in the journal, then
 * of the broker that begins with it.
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
import { type CrashPoint, crashingArgs, crashPoints, crashVariable } from './points.js'

const program = fileURLToPath(new URL('./programs/broker.js', import.meta.url))
const workers = 4
/** Held all the time, so that a snapshot has several parts. */
const hoarded = 1_200
/** How often a point is passed at most before it kills. */
const visitsOf: Partial<Record<CrashPoint, number>> = {
  'before a commit': 60,
  'committed, not flushed': 60,
  'flushed, not answered': 60,
  'before a part of a snapshot': 3,
}

export interface Tally {
  /** Crashes by point. */
  readonly crashes: Map<CrashPoint, number>
  /** What clients were told and was not so. */
  readonly lies: string[]
  readonly grants: number
}

/** @param onRound Told of each crash, once it was judged. */
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
  /** Those that have no connection; a copy for each change. */
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

  /** Sessions that go on through every crash, at work. */
  async begin(): Promise<void> {
    await this.#start()
    const hoarder = await this.#join()
    const locks = Array.from({ length: hoarded }, (_, i) => hoarder.lock(`hoard ${i}`))
    for (const lock of await Promise.all(locks)) this.#ledger.granted(lock, hoarder.id)
    for (let i = 0; i < workers; i++) this.#work.push(this.#toil(await this.#join()))
  }

  /** Lets a broker run into the point, judges what is left, and leaves no broker. */
  async crash(point: CrashPoint, visit: number): Promise<void> {
    await this.#stop()
    const broker = this.#spawn({ [crashVariable]: `${point}:${visit}` })
    const [code, signal] = await once(broker, 'exit')
    if (signal !== 'SIGKILL') throw new Error(`the broker ended by itself (${code})`)
    // Whoever has no connection has read everything that it was told.
    await this.#away.until((items) => (items.at(-1)?.size ?? 0) === this.#sessions.length)
    this.#judge(`${point}, at visit ${visit}`, this.#ledger.lies(await tableIn(this.#dir)))
  }

  /** A last broker, that does not crash: everything comes to an end. */
  async finish(): Promise<void> {
    await this.#start()
    await this.#away.until((items) => (items.at(-1)?.size ?? 0) === 0)
    this.#isOver = true
    await Promise.all(this.#work)
    const { heldCount, waitingCount } = await this.#sessions[0]!.query()
    if (heldCount !== hoarded || waitingCount !== 0) {
      this.#judge('at the end', [`${heldCount} locks and ${waitingCount} requests are left`])
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
      if (!this.#isOver) this.#judge('a session', [`${key} ${fence} was lost`])
    })
    return session
  }

  #judge(where: string, lies: readonly string[]): void {
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
