/**
 * Tests, with a real broker, each kind of lock with each option and with each event that could end
 * a lock. Each combination works, or is refused with `INVALID_OPTION` and a message.
 * `client/docs/kinds.md` shows users the same combinations as a table. A ttl is how long a lock
 * lasts without a refresh, and `maxHold` is how long a lock lasts at most.
 */
import {
  fixedInterval,
  type LockOptions,
  type Session,
  type WebSocketConstructor,
} from '@holdfast/client'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { expectRejection, nextEvent, Stage, untilAborted, untilMessagesHandled } from './stage.js'

/** A lock of any kind, as the tests use it. */
interface AnyLock {
  readonly fence: number
  readonly signal: AbortSignal
  /** Ends the lock. Also ends the scope that has the lock, or the `once` that runs under it. */
  unlock(): unknown
}

type Take = (session: Session, options?: object) => Promise<AnyLock>

/** The key of all locks. A set, which is one lock on several keys, has one more key. */
const key = 'k'

/** Ends a callback, and waits until the call that runs the callback has settled. */
async function endAndAwait(end: () => void, call: Promise<unknown>): Promise<void> {
  end()
  await call
}

/** Each function takes a lock of one kind. The given `options` override those of the kind. */
const kinds = {
  exclusive: (session, options) => session.lock(key, options),
  shared: (session, options) => session.lock(key, { mode: 'shared', ...options }),
  upgraded: async (session, options) => {
    const lock = await session.lock(key, { mode: 'shared', ...options })
    await lock.upgrade()
    return lock
  },
  permits: (session, options) => session.lock(key, { capacity: 1, ...options }),
  set: (session, options) => session.lockAll([key, 'k2'], options),
  singleflight: (session, options) => session.singleflightLock(key, options),
  election: (session, options) => session.campaign(key, options),
  // The callbacks of `scope` and `once` run until `unlock` is called.
  scope: (session, options) =>
    new Promise<AnyLock>((resolve, reject) => {
      const task = session.scope(async (scope) => {
        const { fence, signal } = await scope.lock(key, options)
        await new Promise<void>((end) => {
          resolve({ fence, signal, unlock: () => endAndAwait(end, task) })
        })
      })
      task.catch(reject)
    }),
  once: (session, options) =>
    new Promise<AnyLock>((resolve, reject) => {
      const call = session.once(
        key,
        ({ fence, signal }) =>
          new Promise<void>((end) => {
            resolve({ fence, signal, unlock: () => endAndAwait(end, call) })
          }),
        { ...options },
      )
      call.catch(reject)
    }),
} satisfies Record<string, Take>

type KindName = keyof typeof kinds

/** The sessions of one test: the session of the lock, and another session. */
interface Sessions {
  readonly owner: Session
  readonly other: Session
  /** Drops the connection of `owner`. */
  dropOwner(): void
}

/** An option or an event, which the tests combine with each kind of lock. */
interface Pairing {
  /** Options for the kinds in `refused` only. For the other kinds, `check` has its own options. */
  readonly options?: object
  /** The kinds that refuse these options, with the message. */
  readonly refused?: Partial<Record<KindName, RegExp>>
  /** The kinds to which the pairing does not apply. */
  readonly without?: readonly KindName[]
  /** Checks that the pairing works. */
  check(take: Take, sessions: Sessions): Promise<void>
}

/** Waits until the lock is lost, and resolves with the reason. */
async function lossOf({ signal }: AnyLock): Promise<unknown> {
  return ((await untilAborted(signal)) as { readonly reason?: string }).reason
}

/** The messages with which these kinds refuse an option that their call does not have. */
function unknownOptionMessages(name: string, ...refusing: readonly KindName[]) {
  return Object.fromEntries(refusing.map((kind) => [kind, new RegExp(`has no option "${name}"`)]))
}

/** Checks that this option, with 40 ms, ends the lock for this reason and frees the key. */
function endsLock(option: 'ttl' | 'maxHold', reason: string): Pairing['check'] {
  return async (take, { owner, other }) => {
    const lock = await take(owner, { [option]: 40 })
    expect(await lossOf(lock)).to.equal(reason)
    const later = await other.lock(key)
    expect(later.fence).to.be.above(lock.fence)
  }
}

const pairings: Readonly<Record<string, Pairing>> = {
  'a ttl': {
    options: { ttl: 1_000 },
    // In `check`, the ttl is 40 ms, which could be over before the upgrade.
    without: ['upgraded'],
    refused: unknownOptionMessages('ttl', 'election'),
    check: endsLock('ttl', 'expired'),
  },
  'a maxHold': {
    options: { maxHold: 1_000 },
    // In `check`, the maxHold is 40 ms, which could be over before the upgrade.
    without: ['upgraded'],
    refused: unknownOptionMessages('maxHold', 'election', 'once'),
    check: endsLock('maxHold', 'maxHold'),
  },
  'a timeout': {
    async check(take, { owner, other }) {
      const holder = await other.lock(key)
      const error = await expectRejection(take(owner, { timeout: 1 }), 'LOCK_TIMEOUT')
      expect(error.key).to.equal(key)
      await holder.unlock()
      await take(owner, { timeout: 60_000 })
    },
  },
  'the timeout 0': {
    // The client measures the timeout of singleflight, and cannot know at once whether the lock is
    // free. So this timeout must be at least 1.
    without: ['singleflight'],
    async check(take, { owner, other }) {
      const holder = await other.lock(key)
      await expectRejection(take(owner, { timeout: 0 }), 'LOCK_HELD')
      await holder.unlock()
      await take(owner, { timeout: 0 })
    },
  },
  'a signal': {
    async check(take, { owner, other }) {
      const holder = await other.lock(key)
      const controller = new AbortController()
      const waiting = take(owner, { signal: controller.signal })
      await untilMessagesHandled(owner)
      controller.abort()
      await expectRejection(waiting, 'ABORTED')
      await holder.unlock()
      await untilMessagesHandled(owner)
      // The aborted request got no lock, so the key is free.
      await other.tryLock(key)
    },
  },
  metadata: {
    async check(take, { owner, other }) {
      await take(owner, { metadata: { job: 7 } })
      const error = await expectRejection(other.tryLock(key), 'LOCK_HELD')
      expect(error.holders?.map(({ metadata }) => metadata)).to.deep.equal([{ job: 7 }])
    },
  },
  'a resume after a dropped connection': {
    async check(take, { owner, other, dropOwner }) {
      const lock = await take(owner)
      const resumed = nextEvent(owner, 'resumed')
      dropOwner()
      await resumed
      expect(lock.signal.aborted).to.equal(false)
      const error = await expectRejection(other.tryLock(key), 'LOCK_HELD')
      expect(error.holders?.map(({ fence }) => fence)).to.deep.equal([lock.fence])
      await lock.unlock()
      await other.tryLock(key)
    },
  },
  'a resume while the request waits': {
    async check(take, { owner, other, dropOwner }) {
      const holder = await other.lock(key)
      const waiting = take(owner)
      await untilMessagesHandled(owner)
      const resumed = nextEvent(owner, 'resumed')
      dropOwner()
      await resumed
      const later = other.lock(key)
      await untilMessagesHandled(other)
      await holder.unlock()
      // The resumed request kept its place in the queue, before `later`.
      const lock = await waiting
      await lock.unlock()
      expect((await later).fence).to.be.above(lock.fence)
    },
  },
  'a steal by another session': {
    async check(take, { owner, other }) {
      const lock = await take(owner)
      const stealing = await other.lock(key, { steal: true })
      expect(await lossOf(lock)).to.equal('stolen')
      expect(stealing.fence).to.be.above(lock.fence)
    },
  },
  'a revocation': {
    async check(take, { owner, other }) {
      const lock = await take(owner)
      await other.revoke(key, { fence: lock.fence, reason: 'test' })
      expect(await lossOf(lock)).to.equal('revoked')
      await other.tryLock(key)
    },
  },
  'the end of its session': {
    async check(take, { owner, other }) {
      const lock = await take(owner)
      const waiting = other.lock(key)
      await untilMessagesHandled(other)
      await owner.close()
      expect(await lossOf(lock)).to.equal('session')
      expect((await waiting).held).to.equal(true)
    },
  },
  'the option steal': {
    options: { steal: true },
    refused: {
      shared: /steal needs the mode exclusive/,
      upgraded: /steal needs the mode exclusive/,
      permits: /steal needs the mode exclusive/,
      scope: /a scope cannot steal a lock/,
      ...unknownOptionMessages('steal', 'set', 'singleflight', 'election', 'once'),
    },
    async check(take, { owner, other }) {
      const victim = await other.lock(key)
      await take(owner, { steal: true })
      expect(await lossOf(victim)).to.equal('stolen')
    },
  },
  'the mode shared': {
    options: { mode: 'shared' },
    // An upgraded lock is exclusive.
    without: ['upgraded'],
    refused: {
      permits: /leave out mode or capacity/,
      ...unknownOptionMessages('mode', 'set', 'election', 'once'),
    },
    async check(take, { owner, other }) {
      await take(owner, { mode: 'shared' })
      await other.tryLock(key, { mode: 'shared' })
      await expectRejection(other.tryLock(key), 'LOCK_HELD')
    },
  },
  'a capacity': {
    options: { capacity: 2 },
    refused: {
      shared: /leave out mode or capacity/,
      upgraded: /leave out mode or capacity/,
      ...unknownOptionMessages('capacity', 'set', 'singleflight', 'election', 'once'),
    },
    async check(take, { owner, other }) {
      await take(owner, { capacity: 2 })
      await other.tryLock(key, { capacity: 2 })
      await expectRejection(other.tryLock(key, { capacity: 2 }), 'LOCK_HELD')
      await expectRejection(other.tryLock(key, { capacity: 3 }), 'CAPACITY_MISMATCH')
    },
  },
  onContended: {
    options: { onContended: () => {} },
    refused: unknownOptionMessages('onContended', 'singleflight', 'election', 'once'),
    async check(take, { owner, other }) {
      const contended = new Promise<unknown>((resolve) => {
        void take(owner, { onContended: resolve })
      })
      await untilMessagesHandled(owner)
      other.lock(key).catch(() => {})
      expect(await contended).to.deep.equal({ waiting: 1 })
    },
  },
  onQueued: {
    options: { onQueued: () => {} },
    refused: unknownOptionMessages('onQueued', 'singleflight', 'election', 'once'),
    async check(take, { owner, other }) {
      const holder = await other.lock(key)
      let waiting: Promise<AnyLock> | undefined
      const queued = new Promise<{ ahead: number }>((resolve) => {
        waiting = take(owner, { onQueued: resolve } satisfies LockOptions)
      })
      expect((await queued).ahead).to.equal(0)
      await holder.unlock()
      await waiting
    },
  },
}

describe('e2e: combinations:', () => {
  const stage = Stage.forEachTest()

  async function openSessions(): Promise<Sessions> {
    const { url } = await stage.startBroker()
    const sockets: WebSocket[] = []
    class RecordedSocket extends WebSocket {
      constructor(...args: ConstructorParameters<typeof WebSocket>) {
        super(...args)
        sockets.push(this)
      }
    }
    const owner = await stage.openSession(url, {
      name: 'owner',
      // After a drop of its connection, a session stays resumable for the time of its lease.
      grace: 'lease',
      reconnect: fixedInterval({ interval: 5 }),
      WebSocket: RecordedSocket as unknown as WebSocketConstructor,
    })
    const other = await stage.openSession(url, { name: 'other' })
    return { owner, other, dropOwner: () => sockets.at(-1)!.terminate() }
  }

  for (const [pairingName, { options, refused = {}, without = [], check }] of Object.entries(
    pairings,
  )) {
    for (const [kindName, take] of Object.entries(kinds) as [KindName, Take][]) {
      if (without.includes(kindName)) continue
      const message = refused[kindName]
      if (message === undefined) {
        it(`the kind ${kindName} works with ${pairingName}`, async () =>
          check(take, await openSessions()))
        continue
      }
      it(`the client refuses the kind ${kindName} with ${pairingName}, and changes nothing`, async () => {
        const { owner, other } = await openSessions()
        const error = await expectRejection(take(owner, options), 'INVALID_OPTION')
        expect(error.message).to.match(message)
        await untilMessagesHandled(owner)
        await other.tryLock(key)
      })
    }
  }

  it('a call at a barrier survives a resume, and refuses all options except parties, timeout and signal', async () => {
    const { owner, other, dropOwner } = await openSessions()
    const waiting = owner.barrier(key, { parties: 2 })
    await untilMessagesHandled(owner)
    const resumed = nextEvent(owner, 'resumed')
    dropOwner()
    await resumed
    // A lock and a barrier with the same key are independent, so the steal does not affect
    // the calls at the barrier.
    const lock = await other.lock(key, { steal: true })
    await other.barrier(key, { parties: 2 })
    await waiting
    expect(lock.held).to.equal(true)
    for (const option of ['ttl', 'maxHold', 'metadata', 'mode', 'steal', 'capacity', 'onQueued']) {
      const call = owner.barrier(key, { parties: 2, [option]: 1 } as never)
      const error = await expectRejection(call, 'INVALID_OPTION')
      expect(error.message).to.include(`barrier has no option "${option}"`)
    }
  })

  it('a scope has no once, barrier, campaign, singleflightLock or observe', async () => {
    const { owner } = await openSessions()
    await owner.scope((scope) => {
      for (const name of ['once', 'barrier', 'campaign', 'singleflightLock', 'observe'])
        expect(scope).to.not.have.property(name)
    })
  })

  it('a lock of session.locks ignores the options of other kinds, and other calls refuse its key', async () => {
    const { owner, other } = await openSessions()
    // The Web Locks API ignores options that it does not have.
    await owner.locks.request('x', { capacity: 2, maxHold: 5 } as object, async () => {
      const state = await other.locks.query()
      expect(state.held?.map(({ name, mode }) => [name, mode])).to.deep.equal([['x', 'exclusive']])
    })
    // The lock `x` of `session.locks` has the key `~name:x`.
    const calls = [
      () => owner.lock('~name:x'),
      () => owner.lockAll(['~name:x']),
      () => owner.campaign('~name:x'),
      () => owner.once('~name:x', () => 1, {}),
      () => owner.singleflightLock('~name:x'),
      () => owner.scope((scope) => scope.lock('~name:x')),
    ]
    for (const call of calls) await expectRejection(call(), 'INVALID_KEY')
  })
})
