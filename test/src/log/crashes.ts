/**
 * Kills a broker with a journal at named points of its work while clients acquire and release
 * locks. The journal is a command log on disk, from which a broker restores its lock table after a
 * crash. The broker's answers to clients must agree with the table in the journal, from which the
 * next broker starts. An answer that does not agree is a lie.
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
import { type CrashPoint, crashAtVariable, crashingArgs } from './points.js'

const program = fileURLToPath(new URL('./programs/broker.js', import.meta.url))
/** The number of sessions that lock and unlock. */
const workerCount = 4
/**
 * The number of locks that one session holds all the time, so that a snapshot has several chunks.
 */
const permanentLockCount = 1_200
/**
 * The last visit to each point at which a round may kill the broker; the round chooses a random
 * visit up to this one. A visit is one arrival of the broker at the point. The visits to a point
 * are numbered from 1. At a point without a number here, a round kills the broker at visit 1.
 */
const maxVisits: Partial<Record<CrashPoint, number>> = {
  'before a commit': 60,
  'committed, not flushed': 60,
  'flushed, not answered': 60,
  'before a part of a snapshot': 3,
}

export interface CrashResults {
  /** The number of crashes at each point. */
  readonly crashes: Map<CrashPoint, number>
  /** Descriptions of the lies. */
  readonly lies: string[]
  readonly grants: number
}

/**
 * Runs rounds. Each round has one crash, at the next of the points.
 *
 * @param points The points, in the order of the rounds. After the last point comes the first again.
 * @param onRound Called after the check of each crash.
 */
export async function crashAtPoints(
  rounds: number,
  random: Random,
  points: readonly CrashPoint[],
  onRound: (point: CrashPoint, visit: number) => void = () => {},
): Promise<CrashResults> {
  const scene = await Scene.open(random)
  try {
    await scene.startWork()
    const crashes = new Map<CrashPoint, number>()
    for (let round = 0; round < rounds; round++) {
      const point = points[round % points.length]!
      const visit = 1 + random.below(maxVisits[point] ?? 1)
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

/** A broker that crashes again and again, and the clients that work during all crashes. */
class Scene {
  readonly lies: string[] = []
  readonly #dir: string
  readonly #port: number
  readonly #random: Random
  readonly #ledger = new Ledger()
  readonly #sessions: Session[] = []
  /** Each set has the sessions without a connection, after one disconnect or resume. */
  readonly #disconnectedSets = new Collector<ReadonlySet<Session>>()
  #work: Promise<unknown>[] = []
  #isOver = false
  #broker: ChildProcess | undefined

  private constructor(dir: string, port: number, random: Random) {
    this.#dir = dir
    this.#port = port
    this.#random = random
  }

  /** Makes a scene with an empty journal and a free port. */
  static async open(random: Random): Promise<Scene> {
    return new Scene(mkdtempSync(join(tmpdir(), 'holdfast-crash-')), await freePort(), random)
  }

  get grants(): number {
    return this.#ledger.grants
  }

  /** Opens a session that only holds locks, and sessions that lock and unlock until the end. */
  async startWork(): Promise<void> {
    await this.#start()
    const holder = await this.#openSession()
    const locks = Array.from({ length: permanentLockCount }, (_, i) =>
      holder.lock(`permanent ${i}`),
    )
    for (const lock of await Promise.all(locks)) this.#ledger.granted(lock, holder.id)
    for (let i = 0; i < workerCount; i++)
      this.#work.push(this.#lockAndUnlock(await this.#openSession()))
  }

  /** Lets a broker crash at this visit to the point, and checks the table in the journal. */
  async crash(point: CrashPoint, visit: number): Promise<void> {
    await this.#killIfRunning()
    const broker = this.#spawn({ [crashAtVariable]: `${point}:${visit}` })
    const [code, signal] = await once(broker, 'exit')
    if (signal !== 'SIGKILL') throw new Error(`The broker exited with ${code} before the kill`)
    // A session notices the disconnect after it has read all output of the broker. So the ledger
    // then has every answer.
    await this.#disconnectedSets.waitUntil(
      (sets) => (sets.at(-1)?.size ?? 0) === this.#sessions.length,
    )
    this.#recordLies(`${point}, at visit ${visit}`, this.#ledger.lies(await tableIn(this.#dir)))
  }

  /** Starts a broker that does not crash, so that all requests complete. */
  async finish(): Promise<void> {
    await this.#start()
    await this.#disconnectedSets.waitUntil((sets) => (sets.at(-1)?.size ?? 0) === 0)
    this.#isOver = true
    await Promise.all(this.#work)
    const { heldCount, waitingCount } = await this.#sessions[0]!.query()
    if (heldCount !== permanentLockCount || waitingCount !== 0) {
      this.#recordLies('at the end', [`${heldCount} locks and ${waitingCount} requests are left`])
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#sessions.map((session) => session.close()))
    await this.#killIfRunning()
    rmSync(this.#dir, { recursive: true, force: true })
  }

  async #lockAndUnlock(session: Session): Promise<void> {
    while (!this.#isOver) {
      // Fewer keys than workers, so that requests wait.
      const lock = await session.lock(`key ${this.#random.below(3)}`)
      this.#ledger.granted(lock, session.id)
      // Another request, so that the session holds the lock for a while.
      await session.stats()
      await this.#ledger.unlock(lock)
    }
  }

  /** Opens a session that reconnects after each crash, and records disconnects and lost locks. */
  async #openSession(): Promise<Session> {
    const session = await connect(`ws://127.0.0.1:${this.#port}`, {
      grace: 'lease',
      // Longer than a restart of the broker, so that no session ends.
      lease: 60_000,
      reconnect: fixedInterval({ interval: 20 }),
    })
    this.#sessions.push(session)
    const record = (isDisconnected: boolean) => () => {
      const disconnected = new Set(this.#disconnectedSets.items.at(-1))
      if (isDisconnected) disconnected.add(session)
      else disconnected.delete(session)
      this.#disconnectedSets.add(disconnected)
    }
    // The client emits `jeopardy` when it loses the connection and may lose its locks.
    session.on('jeopardy', record(true))
    session.on('resumed', record(false))
    session.on('lost', ({ key, fence }) => {
      // At the end, the close of a session also loses its locks.
      if (!this.#isOver) this.#recordLies('a session', [`${key} ${fence} was lost`])
    })
    return session
  }

  #recordLies(where: string, lies: readonly string[]): void {
    this.lies.push(...lies.map((lie) => `${where}: ${lie}`))
  }

  /** Starts a broker that does not crash, and waits until the broker listens. */
  async #start(): Promise<void> {
    // The program sends a message when its broker listens.
    await once(this.#spawn({}), 'message')
  }

  #spawn(env: Readonly<Record<string, string>>): ChildProcess {
    this.#broker = fork(program, [this.#dir, String(this.#port)], {
      execArgv: crashingArgs,
      env: { ...process.env, ...env },
    })
    return this.#broker
  }

  async #killIfRunning(): Promise<void> {
    const broker = this.#broker
    this.#broker = undefined
    if (broker === undefined || broker.exitCode !== null || broker.signalCode !== null) return
    const exited = once(broker, 'exit')
    broker.kill('SIGKILL')
    await exited
  }
}
