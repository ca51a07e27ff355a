/**
 * The kinds of hostile clients that acquire locks, wait for locks and steal locks from each other.
 * A fence is the number of a grant. The grace is how long the broker keeps a session without a
 * connection. For a session with a grace, the broker stores answers until the client acknowledges
 * them. The ttl is how long a lock lasts without a refresh.
 *
 * A session that reads `attentively` handles its answers, and a session that reads `eagerly`
 * ignores their content.
 */
import { type HostileSession, pause } from './hostileSession.js'
import { acquire, floodingKind, type HostileGroup, type Kind, largeMetadata } from './kind.js'
import { stealMaker } from './querying.js'

/** The largest number of holders that the broker describes in one refusal. */
const describedHolders = 16
/** The sessions that hold many shared locks of the key "crowd", and the number of locks in each. */
const crowd = { sessions: 10, locksEach: 10_000 }
/** The number of lock requests that `gatherCrowd` has under way at the same time. */
const requestsAtOnce = 2_000
/**
 * `gatherCrowd` leaves this many messages of a burst for the `hello` and other messages. A burst is
 * how many messages a connection may send at once.
 */
const burstReserve = 10

/** Acquires shared locks of the key "described", with as much metadata as the limits allow. */
export async function addDescribedHolders(group: HostileGroup): Promise<void> {
  for (let i = 0; i < describedHolders; i++) {
    const fields = `,"mode":"shared"${largeMetadata(group.limits)}`
    await acquire(await group.openPlainSession(), 'described', fields)
  }
}

/** Opens the sessions of `crowd`, and acquires their locks, as far as the limits allow. */
async function gatherCrowd(group: HostileGroup): Promise<void> {
  const { locksPerSession, messageBurst, messagesPerSecond } = group.limits
  const burst =
    messagesPerSecond === Number.POSITIVE_INFINITY ? crowd.locksEach : messageBurst - burstReserve
  const locksEach = Math.min(crowd.locksEach, locksPerSession, burst)
  for (let i = 0; i < crowd.sessions; i++) {
    const session = await group.openPlainSession()
    for (let done = 0; done < locksEach; done += requestsAtOnce) {
      const requests = Array.from({ length: Math.min(requestsAtOnce, locksEach - done) }, () =>
        acquire(session, 'crowd', ',"mode":"shared"'),
      )
      group.fences.push(...(await Promise.all(requests)))
    }
  }
}

/** Holds the key "queue", so that other requests for the key wait. */
export async function holdQueue(group: HostileGroup): Promise<void> {
  await acquire(await group.openPlainSession(), 'queue')
}

/** A message that requests a lock without waiting. */
function tryLock(session: HostileSession, key: string): string {
  return `{"type":"lock","id":${session.nextId()},"key":"${key}","timeout":0}`
}

/** Locks and unlocks one key until the connection closes, with `inFlight` requests under way. */
async function lockAndUnlock(
  session: HostileSession,
  key: string,
  inFlight: number,
): Promise<void> {
  let fences: string[] = []
  let wake: () => void = () => {}
  session.onText = (text) => {
    for (const [, fence] of text.matchAll(/"granted","id":\d+,"fence":(\d+)/g)) fences.push(fence!)
    wake()
  }
  const request = (): string => `{"type":"lock","id":${session.nextId()},"key":"${key}"}`
  await session.sendAll(Array.from({ length: inFlight }, request))
  while (session.isOpen) {
    const granted = fences
    fences = []
    const messages = granted.flatMap((fence) => [
      `{"type":"unlock","id":${session.nextId()},"fence":${fence}}`,
      request(),
    ])
    await session.sendAll(messages)
    // Grants that arrived during `sendAll` are in `fences` already.
    if (fences.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
}

/**
 * Starts to change the holders of the key "described" again and again, until the group stops. The
 * broker must then make a new description of the holders for each answer.
 */
async function changeHolders(group: HostileGroup): Promise<void> {
  const holder = await group.openPlainSession()
  const fields = `,"mode":"shared"${largeMetadata(group.limits)}`
  const acquireAll = (): Promise<number[]> =>
    Promise.all(
      Array.from({ length: describedHolders }, () => acquire(holder, 'described', fields)),
    )
  let fences = await acquireAll()
  const change = async (): Promise<void> => {
    while (!group.isOver) {
      await Promise.all(
        fences.map((fence) => new Promise<unknown>((done) => holder.unlock(fence, done))),
      )
      fences = await acquireAll()
    }
  }
  // The requests fail when the group stops and drops the connection.
  void change().catch(() => {})
}

/**
 * Gets as many answers as the broker stores for a session, acknowledges none, and drops the
 * connection.
 */
async function leaveAnswers(session: HostileSession, group: HostileGroup): Promise<void> {
  const requests = Array.from({ length: group.limits.unacknowledged }, () =>
    tryLock(session, 'described'),
  )
  // Each message goes alone, so that the holders change between two answers.
  for (const request of requests) {
    await session.sendAll([request])
    await pause(1)
  }
  // Waits for the last answer. If it came before `onText` was set, the wait ends after 2 s.
  await new Promise<void>((resolve) => {
    session.onText = (text) => {
      // The ids begin with 1, so the last request has this id.
      if (text.includes(`"id":${requests.length},`)) resolve()
    }
    setTimeout(resolve, 2_000)
  })
  // The broker now keeps the disconnected session with its answers.
  session.destroy()
  // If this function ended, the process would open another session.
  await new Promise(() => {})
}

/** Acquires many shared locks of a key, and then steals the key, which ends all these locks. */
async function crowdAndSteal(session: HostileSession, { limits }: HostileGroup): Promise<void> {
  const locks = Math.min(crowd.locksEach, limits.locksPerSession)
  const lockShared = (): string =>
    `{"type":"lock","id":${session.nextId()},"key":"crowd ${session.welcome.session}","mode":"shared"}`
  const stealAll = stealMaker(session, `crowd ${session.welcome.session}`)
  while (session.isOpen) {
    // The lock that the steal acquires also counts towards the limit.
    await session.sendAll(Array.from({ length: locks - 1 }, lockShared))
    await session.sendAll([stealAll()])
  }
}

/** Queues 500 requests for a held key, and cancels all these requests, the newest first. */
async function queueAndCancel(session: HostileSession): Promise<void> {
  const requestCount = 500
  while (session.isOpen) {
    const ids = Array.from({ length: requestCount }, () => session.nextId())
    await session.sendAll(ids.map((id) => `{"type":"lock","id":${id},"key":"queue"}`))
    await session.sendAll(ids.reverse().map((id) => `{"type":"cancel","request":${id}}`))
  }
}

/** Watches a key of each session, and steals the key of this session with large metadata. */
async function watchLargeMetadata(session: HostileSession, group: HostileGroup): Promise<void> {
  await session.sendAll([`{"type":"watch","id":${session.nextId()},"prefix":"big"}`])
  const key = `big ${session.welcome.session}`
  await session.flood(stealMaker(session, key, largeMetadata(group.limits)))
}

/**
 * A message that revokes a lock of the key "crowd". Every second message has the fence 1, which no
 * lock has: the broker numbers its grants from a number far above 1.
 */
function revoke(session: HostileSession, { fences }: HostileGroup): string {
  const id = session.nextId()
  const fence = id % 2 === 0 ? (fences.pop() ?? 1) : 1
  return `{"type":"revoke","id":${id},"key":"crowd","fence":${fence},"reason":"hostile"}`
}

/** A message that tries to lock "crowd" exclusively, or (every second time) shared for 1 ms. */
function joinCrowd(session: HostileSession): string {
  const id = session.nextId()
  const terms = id % 2 === 0 ? '"timeout":0' : '"mode":"shared","ttl":1'
  return `{"type":"lock","id":${id},"key":"crowd",${terms}}`
}

export const lockingKinds: readonly Kind[] = [
  floodingKind({
    name: 'refused locks',
    description: 'each answer names 16 holders with large metadata',
    reading: 'eagerly',
    message: (session) => tryLock(session, 'described'),
    prepare: addDescribedHolders,
  }),
  floodingKind({
    name: 'refused locks unread',
    description: 'refused locks, by sessions that read nothing',
    reading: 'never',
    message: (session) => tryLock(session, 'described'),
    prepare: addDescribedHolders,
  }),
  {
    name: 'answers never acknowledged',
    description: 'answers with large metadata, which the broker keeps for disconnected sessions',
    reading: 'attentively',
    hello: ',"grace":"lease"',
    prepare: changeHolders,
    act: leaveAnswers,
  },
  floodingKind({
    name: 'revoke in a crowd',
    description: 'locks of a key with very many holders',
    reading: 'eagerly',
    message: revoke,
    prepare: gatherCrowd,
  }),
  floodingKind({
    name: 'join a crowd',
    description: 'shared locks of a key with very many holders',
    reading: 'eagerly',
    message: joinCrowd,
    prepare: gatherCrowd,
  }),
  {
    name: 'steal from a crowd',
    description: 'a steal from very many holders',
    reading: 'eagerly',
    sessions: 20,
    act: crowdAndSteal,
  },
  {
    name: 'large metadata watched',
    description: 'every session watches what all others change, with large metadata',
    reading: 'eagerly',
    act: watchLargeMetadata,
  },
  {
    name: 'large metadata watched, unread',
    description: 'large metadata watched, by sessions that read nothing',
    reading: 'never',
    act: watchLargeMetadata,
  },
  {
    name: 'queue and cancel',
    description: 'a queue that grows and is cancelled',
    reading: 'eagerly',
    prepare: holdQueue,
    act: queueAndCancel,
  },
  {
    name: 'hot key',
    description: 'one key with 64 requests of each session',
    reading: 'attentively',
    act: (session) => lockAndUnlock(session, 'hot', 64),
  },
  floodingKind({
    name: 'ttl of 1 ms',
    description: 'locks that expire immediately',
    reading: 'eagerly',
    message: (session) => {
      const id = session.nextId()
      // With 2,000 keys, the lock of a key has expired before the next request for this key.
      const key = `${session.welcome.session} ${id % 2_000}`
      return `{"type":"lock","id":${id},"key":"${key}","ttl":1,"timeout":1}`
    },
  }),
  floodingKind({
    name: 'timeout of 1 ms',
    description: 'requests that time out immediately',
    reading: 'eagerly',
    message: (session) => `{"type":"lock","id":${session.nextId()},"key":"queue","timeout":1}`,
    prepare: holdQueue,
  }),
  floodingKind({
    name: 'steals unread',
    description: 'each message causes a loss and a grant, and the session reads neither',
    reading: 'never',
    message: (session) => stealMaker(session, session.welcome.session)(),
  }),
]
