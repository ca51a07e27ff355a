/**
 * The parts of a test of hostile clients: a broker process with many locks in its lock table, and a
 * bystander. The bystander is a well-behaved client that must keep its lock and its session and get
 * its grants. The lease is how long the broker keeps a silent session.
 */
import type { Lock, Session } from '@holdfast/client'
import { expect } from 'chai'
import { RawClient } from './raw.js'
import { ServeProcess } from './remote.js'
import type { Stage } from './stage.js'

/** The shortest lease that the broker allows, in ms. */
const bystanderLeaseMs = 2_000
/** The default limit of locks in one session. */
const locksPerSession = 10_000
/** This many small messages are far below the limit of a frame, 64 KiB. */
const defaultMessagesPerFrame = 500

/** Divides messages, or their ids, into lists. The caller sends each list as one frame. */
export function* framesOf<T>(
  messages: readonly T[],
  messagesPerFrame = defaultMessagesPerFrame,
): Generator<readonly T[]> {
  for (let i = 0; i < messages.length; i += messagesPerFrame)
    yield messages.slice(i, i + messagesPerFrame)
}

/** Fills the lock table with this many locks, each on a key of its own. */
export async function fillTable(stage: Stage, url: string, count: number): Promise<void> {
  for (let filled = 0; filled < count; filled += locksPerSession) {
    const filler = await RawClient.open(url, { lease: 300_000 })
    stage.onCleanUp(() => filler.drop())
    const ids = Array.from({ length: Math.min(locksPerSession, count - filled) }, (_, i) => i + 1)
    for (const frame of framesOf(ids)) {
      filler.send(...frame.map((id) => ({ type: 'lock', id, key: `table:${filled + id}` })))
      for (const _ of frame) await filler.receive('granted')
    }
  }
}

/** A well-behaved client, which holds one lock for the whole test and acquires other locks. */
export class Bystander {
  readonly session: Session
  readonly #lock: Lock
  readonly #losses: string[] = []

  private constructor(session: Session, lock: Lock) {
    this.session = session
    this.#lock = lock
    for (const event of ['lost', 'newSession', 'closed'] as const) {
      session.on(event, () => this.#losses.push(event))
    }
  }

  /** Opens the session of the bystander, and acquires the lock that the bystander keeps. */
  static async start(stage: Stage, url: string, options: object = {}): Promise<Bystander> {
    const session = await stage.openSession(url, {
      lease: bystanderLeaseMs,
      name: 'bystander',
      ...options,
    })
    return new Bystander(session, await session.lock('held by the bystander'))
  }

  /** Acquires and releases `count` locks, one after another. */
  async lockAndUnlock(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const lock = await this.session.lock(`free:${i}`)
      await lock.unlock()
    }
  }

  /** Expects that the bystander lost nothing, and can still refresh its lock. */
  async expectUnharmed(): Promise<void> {
    expect(this.#losses, 'losses of the bystander').to.deep.equal([])
    expect(this.#lock.held, 'the lock of the bystander').to.equal(true)
    await this.#lock.refresh()
    expect(this.#losses).to.deep.equal([])
  }
}

export interface HostileStage {
  readonly serveProcess: ServeProcess
  readonly url: string
  readonly bystander: Bystander
}

/**
 * Starts a broker, fills its table and connects the bystander.
 *
 * @param locks The number of locks in the table, without the lock of the bystander.
 * @param flags Flags of `holdfast serve`.
 */
export async function startHostileStage(
  stage: Stage,
  locks: number,
  ...flags: readonly string[]
): Promise<HostileStage> {
  const serveProcess = await ServeProcess.startListening(stage, ...flags)
  const { url } = serveProcess
  await fillTable(stage, url, locks)
  return { serveProcess, url, bystander: await Bystander.start(stage, url) }
}

/** Opens a hostile client. Its lease is so long that the client need not answer pings. */
export async function openHostileClient(
  stage: Stage,
  url: string,
  hello: object = {},
): Promise<RawClient> {
  const client = await RawClient.open(url, { name: 'hostile', lease: 300_000, ...hello })
  stage.onCleanUp(() => client.drop())
  return client
}

/**
 * Gives a key 16 shared holders with the largest metadata. A refused request then gets the longest
 * error, because the error describes at most 16 holders, each with its metadata.
 */
export async function addDescribedHolders(stage: Stage, url: string, key: string): Promise<void> {
  // With its two quotes, this text has 4,096 bytes of JSON, the limit of metadata.
  const metadata = 'm'.repeat(4_094)
  for (let i = 0; i < 16; i++) {
    const holder = await openHostileClient(stage, url)
    holder.send({ type: 'lock', id: 1, key, mode: 'shared', metadata })
    await holder.receive('granted')
  }
}
