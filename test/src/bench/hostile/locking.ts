/** Hostile clients that acquire locks, wait for locks and steal locks from each other. */
import { type HostileSession, pause } from './hostileSession.js'
import { acquire, flooding, type HostileGroup, type Kind, largeMetadata } from './kind.js'
import { steal } from './querying.js'

/** The number of holders that one answer may describe. */
const described = 16
/** The number of sessions that hold a shared key together, and the number of its locks in each. */
const crowd = { sessions: 10, each: 10_000 }

/** Lets one key have holders with as much metadata as the limits allow. */
async function describeHolders(group: HostileGroup): Promise<void> {
  for (let i = 0; i < described; i++) {
    const fields = `,"mode":"shared"${largeMetadata(group.limits)}`
    await acquire(await group.helper(), 'described', fields)
  }
}

/** Lets one key have as many shared holders as a few sessions may have. */
async function gatherCrowd(group: HostileGroup): Promise<void> {
  const { locksPerSession, messageBurst, messagesPerSecond } = group.limits
  const limit = messagesPerSecond === Number.POSITIVE_INFINITY ? crowd.each : messageBurst - 10
  const each = Math.min(crowd.each, locksPerSession, limit)
  for (let i = 0; i < crowd.sessions; i++) {
    const session = await group.helper()
    for (let done = 0; done < each; done += 2_000) {
      const requests = Array.from({ length: Math.min(2_000, each - done) }, () =>
        acquire(session, 'crowd', ',"mode":"shared"'),
      )
      group.fences.push(...(await Promise.all(requests)))
    }
  }
}

async function holdQueue(group: HostileGroup): Promise<void> {
  await acquire(await group.helper(), 'queue')
}

function tryLock(session: HostileSession, key: string): string {
  return `{"type":"lock","id":${session.nextId()},"key":"${key}","timeout":0}`
}

/** Locks and unlocks one key with this many requests under way. */
async function pairs(session: HostileSession, key: string, inFlight: number): Promise<void> {
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
    if (fences.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
}

/**
 * Changes the holders of a key all the time, so that the broker cannot use one description in two
 * answers.
 */
async function changeHolders(group: HostileGroup): Promise<void> {
  const holder = await group.helper()
  const fields = `,"mode":"shared"${largeMetadata(group.limits)}`
  const acquireAll = (): Promise<number[]> =>
    Promise.all(Array.from({ length: described }, () => acquire(holder, 'described', fields)))
  let fences = await acquireAll()
  const change = async (): Promise<void> => {
    while (!group.isOver) {
      await Promise.all(
        fences.map((fence) => new Promise<unknown>((done) => holder.unlock(fence, done))),
      )
      fences = await acquireAll()
    }
  }
  void change().catch(() => {})
}

/** Leaves unacknowledged answers in one session after another. */
async function leaveAnswers(session: HostileSession, group: HostileGroup): Promise<void> {
  const tries = Array.from({ length: group.limits.unacknowledged }, () =>
    tryLock(session, 'described'),
  )
  for (const message of tries) {
    await session.sendAll([message])
    await pause(1)
  }
  // After the last answer the broker has handled everything; then the connection closes, and the
  // session stays.
  await new Promise<void>((resolve) => {
    session.onText = (text) => {
      if (text.includes(`"id":${tries.length},`)) resolve()
    }
    setTimeout(resolve, 2_000)
  })
  session.destroy()
  await new Promise(() => {})
}

/** Acquires many shared locks of a key, then steals the key from all of them at once. */
async function crowdAndSteal(session: HostileSession, { limits }: HostileGroup): Promise<void> {
  const each = Math.min(crowd.each, limits.locksPerSession)
  const share = (): string =>
    `{"type":"lock","id":${session.nextId()},"key":"crowd ${session.welcome.session}","mode":"shared"}`
  const stealAll = steal(session, `crowd ${session.welcome.session}`)
  while (session.isOpen) {
    await session.sendAll(Array.from({ length: each - 1 }, share))
    await session.sendAll([stealAll()])
  }
}

/**
 * Queues for a held key as often as one frame allows, and cancels all these requests in the next
 * frame.
 */
async function queueAndCancel(session: HostileSession): Promise<void> {
  const atOnce = 500
  while (session.isOpen) {
    const ids = Array.from({ length: atOnce }, () => session.nextId())
    await session.sendAll(ids.map((id) => `{"type":"lock","id":${id},"key":"queue"}`))
    await session.sendAll(ids.reverse().map((id) => `{"type":"cancel","request":${id}}`))
  }
}

/** Watches the changes of all hostile sessions, each with large metadata. */
async function watchDescribed(session: HostileSession, group: HostileGroup): Promise<void> {
  await session.sendAll([`{"type":"watch","id":${session.nextId()},"prefix":"big"}`])
  const key = `big ${session.welcome.session}`
  await session.flood(steal(session, key, largeMetadata(group.limits)))
}

/** Revokes locks of the crowd: by turns one that exists and one that does not. */
function revoke(session: HostileSession, { fences }: HostileGroup): string {
  const id = session.nextId()
  const fence = id % 2 === 0 ? (fences.pop() ?? 1) : 1
  return `{"type":"revoke","id":${id},"key":"crowd","fence":${fence},"reason":"hostile"}`
}

/** Acquires and releases shared locks of the crowd's key, and tries to lock it exclusively. */
function joinCrowd(session: HostileSession): string {
  return session.nextId() % 2 === 0
    ? tryLock(session, 'crowd')
    : `{"type":"lock","id":${session.nextId()},"key":"crowd","mode":"shared","ttl":1}`
}

export const lockingKinds: readonly Kind[] = [
  flooding(
    ['refused locks', 'each answer names 16 holders with large metadata'],
    'eagerly',
    (session) => tryLock(session, 'described'),
    { prepare: describeHolders },
  ),
  flooding(
    ['refused locks unread', 'the same, by sessions that read nothing'],
    'never',
    (session) => tryLock(session, 'described'),
    { prepare: describeHolders },
  ),
  {
    name: 'answers never acknowledged',
    description: 'such answers, kept for disconnected sessions',
    reading: 'attentively',
    hello: ',"grace":"lease"',
    prepare: changeHolders,
    act: leaveAnswers,
  },
  flooding(['revoke in a crowd', 'locks of a key with very many holders'], 'eagerly', revoke, {
    prepare: gatherCrowd,
  }),
  flooding(['join a crowd', 'shared locks of a key with very many holders'], 'eagerly', joinCrowd, {
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
    act: watchDescribed,
  },
  {
    name: 'large metadata watched, unread',
    description: 'the same, by sessions that read nothing',
    reading: 'never',
    act: watchDescribed,
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
    act: (session) => pairs(session, 'hot', 64),
  },
  flooding(['ttl of 1 ms', 'locks that expire at once'], 'eagerly', (session) => {
    const id = session.nextId()
    const key = `${session.welcome.session} ${id % 2_000}`
    return `{"type":"lock","id":${id},"key":"${key}","ttl":1,"timeout":1}`
  }),
  flooding(
    ['timeout of 1 ms', 'requests that time out at once'],
    'eagerly',
    (session) => `{"type":"lock","id":${session.nextId()},"key":"queue","timeout":1}`,
    { prepare: holdQueue },
  ),
  flooding(
    ['steals unread', 'a loss and a grant for each message, which the session does not read'],
    'never',
    (s) => steal(s, s.welcome.session)(),
  ),
]
