/** Hostile clients who take locks, wait for them and take them from each other. */
import { type HostileSession, pause } from './hostileSession.js'
import { flooding, type Gang, type Kind, largeMetadata, take } from './kind.js'
import { steal } from './looking.js'

/** As many holders as an answer may name. */
const described = 16
/** Sessions that hold a shared key together, and how many locks of it each at most. */
const crowd = { sessions: 10, each: 10_000 }

/** Holders of one key with as much metadata as they may have. */
async function describeHolders(gang: Gang): Promise<void> {
  for (let i = 0; i < described; i++) {
    const fields = `,"mode":"shared"${largeMetadata(gang.limits)}`
    await take(await gang.helper(), 'described', fields)
  }
}

/** One key with as many shared holders as a few sessions can be. */
async function gatherCrowd(gang: Gang): Promise<void> {
  const { locksPerSession, messageBurst, messagesPerSecond } = gang.limits
  const rated = messagesPerSecond === Number.POSITIVE_INFINITY ? crowd.each : messageBurst - 10
  const each = Math.min(crowd.each, locksPerSession, rated)
  for (let i = 0; i < crowd.sessions; i++) {
    const session = await gang.helper()
    for (let done = 0; done < each; done += 2_000) {
      const some = Array.from({ length: Math.min(2_000, each - done) }, () =>
        take(session, 'crowd', ',"mode":"shared"'),
      )
      gang.fences.push(...(await Promise.all(some)))
    }
  }
}

async function holdQueue(gang: Gang): Promise<void> {
  await take(await gang.helper(), 'queue')
}

function tryLock(session: HostileSession, key: string): string {
  return `{"type":"lock","id":${session.nextId()},"key":"${key}","timeout":0}`
}

/** Locks and unlocks one key with so many requests under way. */
async function pairs(session: HostileSession, key: string, inFlight: number): Promise<void> {
  let fences: string[] = []
  let wake: () => void = () => {}
  session.onText = (text) => {
    for (const [, fence] of text.matchAll(/"granted","id":\d+,"fence":(\d+)/g)) fences.push(fence!)
    wake()
  }
  const request = (): string => `{"type":"lock","id":${session.nextId()},"key":"${key}"}`
  await session.sayAll(Array.from({ length: inFlight }, request))
  while (session.isOpen) {
    const granted = fences
    fences = []
    const both = granted.flatMap((fence) => [
      `{"type":"unlock","id":${session.nextId()},"fence":${fence}}`,
      request(),
    ])
    await session.sayAll(both)
    if (fences.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
}

/** Holders that are never the same for long, so that no two answers can share what they keep. */
async function changeHolders(gang: Gang): Promise<void> {
  const holder = await gang.helper()
  const fields = `,"mode":"shared"${largeMetadata(gang.limits)}`
  const takeAll = (): Promise<number[]> =>
    Promise.all(Array.from({ length: described }, () => take(holder, 'described', fields)))
  let fences = await takeAll()
  const change = async (): Promise<void> => {
    while (!gang.isOver) {
      await Promise.all(
        fences.map((fence) => new Promise<unknown>((done) => holder.unlock(fence, done))),
      )
      fences = await takeAll()
    }
  }
  void change().catch(() => {})
}

/** Leaves answers that it never acknowledges in one session after the other. */
async function leaveAnswers(session: HostileSession, gang: Gang): Promise<void> {
  const tries = Array.from({ length: gang.limits.unacknowledged }, () =>
    tryLock(session, 'described'),
  )
  for (const one of tries) {
    await session.sayAll([one])
    await pause(1)
  }
  // All of it was handled when its last answer is there; then it goes away, and its session stays.
  await new Promise<void>((resolve) => {
    session.onText = (text) => {
      if (text.includes(`"id":${tries.length},`)) resolve()
    }
    setTimeout(resolve, 2_000)
  })
  session.destroy()
  await new Promise(() => {})
}

/** Fills a key with shared locks of its own, then steals it from all of them at once. */
async function crowdAndSteal(session: HostileSession, { limits }: Gang): Promise<void> {
  const each = Math.min(crowd.each, limits.locksPerSession)
  const share = (): string =>
    `{"type":"lock","id":${session.nextId()},"key":"crowd ${session.welcome.session}","mode":"shared"}`
  const stealAll = steal(session, `crowd ${session.welcome.session}`)
  while (session.isOpen) {
    await session.sayAll(Array.from({ length: each - 1 }, share))
    await session.sayAll([stealAll()])
  }
}

/** Asks for a key that is held as often as a frame has room, and gives it all up in the next. */
async function queueAndCancel(session: HostileSession): Promise<void> {
  const atOnce = 500
  while (session.isOpen) {
    const ids = Array.from({ length: atOnce }, () => session.nextId())
    await session.sayAll(ids.map((id) => `{"type":"lock","id":${id},"key":"queue"}`))
    await session.sayAll(ids.reverse().map((id) => `{"type":"cancel","request":${id}}`))
  }
}

/** Watches what all of them churn, each change with large metadata. */
async function watchDescribed(session: HostileSession, gang: Gang): Promise<void> {
  await session.sayAll([`{"type":"watch","id":${session.nextId()},"prefix":"big"}`])
  const key = `big ${session.welcome.session}`
  await session.flood(steal(session, key, largeMetadata(gang.limits)))
}

/** Revokes locks of the crowd, one that is there and one that is not by turns. */
function revoke(session: HostileSession, { fences }: Gang): string {
  const id = session.nextId()
  const fence = id % 2 === 0 ? (fences.pop() ?? 1) : 1
  return `{"type":"revoke","id":${id},"key":"crowd","fence":${fence},"reason":"hostile"}`
}

/** Shared locks of the crowd’s key that are taken and given up, and tries that fail. */
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
    ['refused locks unread', 'the same, and nothing is read'],
    'never',
    (session) => tryLock(session, 'described'),
    { prepare: describeHolders },
  ),
  {
    name: 'answers never acknowledged',
    what: 'the same, kept for sessions that are away',
    reading: 'attentively',
    hello: ',"grace":"lease"',
    prepare: changeHolders,
    act: leaveAnswers,
  },
  flooding(['revoke in a crowd', 'locks of a key with very many holders'], 'eagerly', revoke, {
    prepare: gatherCrowd,
  }),
  flooding(['join a crowd', 'locks of such a key come and go'], 'eagerly', joinCrowd, {
    prepare: gatherCrowd,
  }),
  {
    name: 'steal from a crowd',
    what: 'a steal that is told to very many holders',
    reading: 'eagerly',
    sessions: 20,
    act: crowdAndSteal,
  },
  {
    name: 'large metadata watched',
    what: 'every session watches what all others change, with large metadata',
    reading: 'eagerly',
    act: watchDescribed,
  },
  {
    name: 'large metadata watched, unread',
    what: 'the same, and nothing is read',
    reading: 'never',
    act: watchDescribed,
  },
  {
    name: 'queue and cancel',
    what: 'a queue that is built up and torn down',
    reading: 'eagerly',
    prepare: holdQueue,
    act: queueAndCancel,
  },
  {
    name: 'hot key',
    what: 'one key, wanted 64 times by each session',
    reading: 'attentively',
    act: (session) => pairs(session, 'hot', 64),
  },
  flooding(['ttl of 1 ms', 'locks that expire at once'], 'eagerly', (session) => {
    const id = session.nextId()
    const key = `${session.welcome.session} ${id % 2_000}`
    return `{"type":"lock","id":${id},"key":"${key}","ttl":1,"timeout":1}`
  }),
  flooding(
    ['timeout of 1 ms', 'requests that give up at once'],
    'eagerly',
    (session) => `{"type":"lock","id":${session.nextId()},"key":"queue","timeout":1}`,
    { prepare: holdQueue },
  ),
  flooding(['steals unread', 'a loss and a grant a message, and nothing is read'], 'never', (s) =>
    steal(s, s.welcome.session)(),
  ),
]
