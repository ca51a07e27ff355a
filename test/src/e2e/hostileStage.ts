/**
 * For tests of hostile clients: a broker in a process of its own, a full table, and a bystander
 * that must keep its lock and its session and get its grants.
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
/** The number of messages in one frame, far below 64 KiB. */
const messagesPerFrame = 500

/** Joins messages to frames. */
export function* framesOf<T>(
  messages: readonly T[],
  each = messagesPerFrame,
): Generator<readonly T[]> {
  for (let i = 0; i < messages.length; i += each) yield messages.slice(i, i + each)
}

/** Holds this many locks, each on a key of its own. */
export async function fillTable(stage: Stage, url: string, count: number): Promise<void> {
  for (let done = 0; done < count; done += locksPerSession) {
    const filler = await RawClient.open(url, { lease: 300_000 })
    stage.onClear(() => filler.drop())
    const ids = Array.from({ length: Math.min(locksPerSession, count - done) }, (_, i) => i + 1)
    for (const frame of framesOf(ids)) {
      filler.send(...frame.map((id) => ({ type: 'lock', id, key: `table:${done + id}` })))
      for (const _ of frame) await filler.receive('granted')
    }
  }
}

/** A well-behaved client. It holds one lock for the whole test, and acquires others. */
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

  static async start(stage: Stage, url: string, options: object = {}): Promise<Bystander> {
    const session = await stage.session(url, {
      lease: bystanderLeaseMs,
      name: 'bystander',
      ...options,
    })
    return new Bystander(session, await session.lock('the bystander keeps this'))
  }

  /** Acquires and releases `count` locks, one after another. */
  async lockAndUnlock(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const lock = await this.session.lock(`free:${i}`)
      await lock.unlock()
    }
  }

  /** Expects that it lost nothing and that the broker still answers. */
  async expectUnharmed(): Promise<void> {
    expect(this.#losses, 'losses of the bystander').to.deep.equal([])
    expect(this.#lock.held, 'the lock of the bystander').to.equal(true)
    await this.#lock.refresh()
    expect(this.#losses).to.deep.equal([])
  }
}

export interface HostileStage {
  readonly served: ServeProcess
  readonly url: string
  readonly bystander: Bystander
}

/**
 * @param locks The number of locks without those of the bystander. @param flags Flags of `holdfast
 * serve`.
 */
export async function hostileStage(
  stage: Stage,
  locks: number,
  ...flags: readonly string[]
): Promise<HostileStage> {
  const served = await ServeProcess.start(stage, ...flags)
  const { url } = served
  await fillTable(stage, url, locks)
  return { served, url, bystander: await Bystander.start(stage, url) }
}

/** A hostile client, with a lease that needs no pongs. */
export async function hostile(stage: Stage, url: string, hello: object = {}): Promise<RawClient> {
  const client = await RawClient.open(url, { name: 'hostile', lease: 300_000, ...hello })
  stage.onClear(() => client.drop())
  return client
}

/**
 * Gives one key as many shared holders as an answer describes, with metadata of the largest size.
 */
export async function describeHolders(stage: Stage, url: string, key: string): Promise<void> {
  const metadata = 'm'.repeat(4_094)
  for (let i = 0; i < 16; i++) {
    const holder = await hostile(stage, url)
    holder.send({ type: 'lock', id: 1, key, mode: 'shared', metadata })
    await holder.receive('granted')
  }
}
