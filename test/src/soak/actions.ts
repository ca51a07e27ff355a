/**
 * The actions of a simulated user in the soak program (a long run with a constant load, which
 * searches for leaks). The actions use every kind of lock, requests that end in every way, watches,
 * queries, dropped connections and refused clients. Each action is short, because none of its
 * requests waits for longer than {@link waitMs}. An action holds no lock at its end.
 */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, HoldfastError, type Lock, type Session, type Watch } from '@holdfast/client'
import type { Random } from '../support/counts.js'

/** What a user gives to its actions. */
export interface ActionContext {
  readonly session: Session
  readonly random: Random
  readonly url: string
  readonly token: string
  /** The watches that the user keeps open, the oldest first. */
  readonly watches: Watch[]
  /** Resets the connection of the session, as a lost network does. */
  drop(): void
}

type Action = (context: ActionContext) => Promise<unknown>

/** How long a request waits at most, in ms. */
const waitMs = 300
/** The ttl or the `maxHold` of a lock whose action waits for the end of the lock, in ms. */
const shortMs = 40
/** How long a user works with a lock at most, in ms. */
const maxWorkMs = 5
/** How many watches a user keeps open. */
const maxWatches = 3
/** The number of keys that all users share: so few that the users contend for them. */
const sharedKeyCount = 12
/** The number of rare keys: so many that most of them are free. */
const rareKeyCount = 1_000_000

/** The codes of errors that users of contended locks must expect. */
const expectedCodes: ReadonlySet<string> = new Set([
  'ABORTED',
  'DEADLOCK',
  'LOCK_HELD',
  'LOCK_LOST',
  'LOCK_NOT_HELD',
  'LOCK_TIMEOUT',
  'SESSION_EXPIRED',
  'UNAVAILABLE',
])

/** Waits for an action. Ignores the errors that each user of contended locks must expect. */
export async function settle(action: Promise<unknown>): Promise<void> {
  try {
    await action
  } catch (error) {
    if (error instanceof HoldfastError && expectedCodes.has(error.code)) return
    // `session.locks` rejects with a DOMException, as the Web Locks API requires.
    if (error instanceof DOMException && error.name === 'AbortError') return
    throw error
  }
}

/** Waits for a lock, uses the lock for a few ms, and unlocks it. */
async function hold(
  { random }: ActionContext,
  request: Promise<Lock>,
  use: (lock: Lock) => Promise<unknown> = async () => {},
): Promise<void> {
  const lock = await request
  try {
    await use(lock)
    await sleep(random.below(maxWorkMs))
  } finally {
    await lock.unlock()
  }
}

/** Waits until the lock is lost. */
async function untilLost({ signal }: Lock): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort')
}

/** One of a few keys that all users share. */
function sharedKey(random: Random): string {
  return `shared:${random.below(sharedKeyCount)}`
}

/** One of many keys, most of which are free. */
function rareKey(random: Random): string {
  return `rare:${random.below(rareKeyCount)}`
}

/** Keeps the watch open. Closes the oldest watches of the user beyond `maxWatches`. */
function keepWatch({ watches }: ActionContext, watch: Watch): void {
  watches.push(watch)
  while (watches.length > maxWatches) watches.shift()!.close()
}

const exclusiveLocks: Record<string, Action> = {
  lock: (context) => {
    const { session, random } = context
    const metadata = { note: 'x'.repeat(random.below(200)) }
    return hold(context, session.lock(sharedKey(random), { timeout: waitMs, metadata }))
  },
  freeLock: (context) => hold(context, context.session.lock(rareKey(context.random))),
  tryLock: (context) => hold(context, context.session.tryLock(sharedKey(context.random))),
  withLock: ({ session, random }) =>
    session.withLock(sharedKey(random), () => sleep(random.below(maxWorkMs)), { timeout: waitMs }),
  singleflight: (context) => {
    const key = sharedKey(context.random)
    const share = () => hold(context, context.session.singleflightLock(key, { timeout: waitMs }))
    return Promise.all([settle(share()), settle(share()), settle(share())])
  },
  ttl: async ({ session, random }) => {
    await untilLost(await session.lock(rareKey(random), { ttl: shortMs }))
  },
  refresh: (context) => {
    const [ttl, newTtl] = [5_000, 10_000]
    const request = context.session.lock(sharedKey(context.random), { ttl, timeout: waitMs })
    return hold(context, request, (lock) => lock.refresh(newTtl))
  },
  autoRefresh: (context) => {
    const request = context.session.lock(rareKey(context.random), { ttl: 600 })
    return hold(context, request, (lock) => {
      lock.autoRefresh({ interval: 20, timeout: 500 })
      // Long enough for two refreshes.
      return sleep(50)
    })
  },
  maxHold: async ({ session, random }) => {
    await untilLost(await session.lock(rareKey(random), { maxHold: shortMs }))
  },
  contended: (context) => {
    const { session, random } = context
    const callbacks = { onQueued: () => {}, onContended: () => {} }
    return hold(context, session.lock(sharedKey(random), { timeout: waitMs, ...callbacks }))
  },
  steal: (context) =>
    hold(context, context.session.lock(sharedKey(context.random), { steal: true })),
  revoke: async ({ session, random }) => {
    const lock = await session.lock(rareKey(random))
    await session.revoke(lock.key, { fence: lock.fence, reason: 'the soak revokes this lock' })
    await untilLost(lock)
  },
  abort: async ({ session, random }) => {
    const key = rareKey(random)
    const lock = await session.lock(key)
    const controller = new AbortController()
    const abortedRequest = settle(session.lock(key, { signal: controller.signal }))
    controller.abort()
    await abortedRequest
    await lock.unlock()
  },
  webLock: ({ session, random }) =>
    session.locks.request(sharedKey(random), { ifAvailable: true }, () =>
      sleep(random.below(maxWorkMs)),
    ),
}

const otherFeatures: Record<string, Action> = {
  shared: (context) => {
    const options = { mode: 'shared', timeout: waitMs } as const
    return hold(context, context.session.lock(sharedKey(context.random), options))
  },
  permits: (context) => {
    const { session, random } = context
    const options = { capacity: 3, permits: 1 + random.below(2), timeout: waitMs }
    return hold(context, session.lock('permits', options))
  },
  upgrade: (context) => {
    const key = sharedKey(context.random)
    const request = context.session.lock(key, { mode: 'shared', timeout: waitMs })
    return hold(context, request, async (lock) => {
      await lock.upgrade({ timeout: waitMs })
      await lock.downgrade()
    })
  },
  lockSet: (context) => {
    const { session, random } = context
    // One of three keys, one of three other keys, and a free key, so that many sets overlap.
    const keys = [`set:${random.below(3)}`, `set:${3 + random.below(3)}`, rareKey(random)]
    return hold(context, session.lockAll(keys, { timeout: waitMs }))
  },
  scope: ({ session, random }) =>
    session.scope(async (scope) => {
      const key = sharedKey(random)
      await scope.lock(key, { timeout: waitMs })
      // The scope already holds this lock, so the second call gets the lock without a wait.
      await scope.lock(key)
      await scope.tryLock(rareKey(random))
    }),
  deadlock: ({ session, random }) => {
    const [keyA, keyB] = [rareKey(random), rareKey(random)]
    const lockInOrder = (first: string, second: string) =>
      session.scope(async (scope) => {
        await scope.lock(first)
        // During this round trip, the other scope gets its first lock.
        await session.stats()
        await scope.lock(second, { timeout: waitMs })
      })
    return Promise.all([settle(lockInOrder(keyA, keyB)), settle(lockInOrder(keyB, keyA))])
  },
  once: ({ session, random }) => {
    // So few keys that calls of different users share a run.
    const key = `once:${random.below(6)}`
    const run = async () => ({ text: 'x'.repeat(random.below(500)) })
    return session.once(key, run, { keep: 1 + random.below(500), timeout: waitMs })
  },
  campaign: (context) => {
    const { session, random } = context
    const lead = async () => {
      const leadership = await session.campaign('leader', { value: 0, timeout: waitMs })
      await leadership.proclaim(random.below(100))
      await leadership.resign()
    }
    return lead()
  },
  observe: async ({ session }) => {
    // The first value comes at once: the present leader, or undefined if no session leads.
    for await (const _leader of session.observe('leader')) break
  },
  barrier: ({ session, random }) => {
    const key = `barrier:${random.below(rareKeyCount)}`
    const call = () => settle(session.barrier(key, { parties: 2, timeout: waitMs }))
    // A barrier of two with one call times out.
    return random.chance(0.5) ? call() : Promise.all([call(), call()])
  },
}

const connectionsAndReads: Record<string, Action> = {
  watch: async (context) => {
    keepWatch(
      context,
      context.session.watch({ prefix: 'shared:' }, () => {}),
    )
  },
  watchQueue: async (context) => {
    const selection = { key: sharedKey(context.random), queue: true } as const
    keepWatch(
      context,
      context.session.watch(selection, () => {}),
    )
  },
  query: ({ session, random }) => session.query({ prefix: 'shared:', limit: 1 + random.below(20) }),
  queryRecords: async ({ session }) => {
    await session.query({ prefix: 'once:', kind: 'results' })
    await session.query({ prefix: 'barrier:', kind: 'barriers' })
  },
  webLockQuery: ({ session }) => session.locks.query(),
  stats: ({ session }) => session.stats(),
  authenticate: ({ session, token }) => session.authenticate(token),
  drop: async (context) => {
    const { session, random } = context
    const lock = await session.lock(rareKey(random))
    const resentRequest = settle(
      hold(context, session.lock(sharedKey(random), { timeout: waitMs })),
    )
    context.drop()
    // Waits until the session has resumed.
    await session.stats()
    await resentRequest
    await lock.unlock()
  },
  refused: async ({ url }) => {
    const error = await connect(url, { token: 'unknown', reconnect: false }).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    // A broker with too many connections refuses a connection before it checks the token.
    if (error instanceof HoldfastError && ['UNAUTHORIZED', 'UNAVAILABLE'].includes(error.code)) {
      return
    }
    throw new Error('The broker did not refuse an unknown token', { cause: error })
  },
}

/** All actions, by name. */
export const actions: Readonly<Record<string, Action>> = {
  ...exclusiveLocks,
  ...otherFeatures,
  ...connectionsAndReads,
}
