/**
 * The kinds of hostile clients that use upgrades, scopes, sets, `once`, elections, barriers and
 * notices. In three further kinds, requests or locks of all sessions expire in the same
 * millisecond. Words such as `eagerly` say how a session reads (see `Reading`).
 *
 * - A scope is one logical task of a session; a request in a scope is checked for deadlocks.
 * - A set is a lock on several keys.
 * - `once` lets one of its callers run a task. The other calls, the followers, get its value.
 * - A fence is the number of a grant.
 * - The ttl is how long a lock lasts without a refresh; the maxHold is how long a lock lasts at
 *   most.
 * - A notice is a message that the broker sends if the lock request asks for it. The notice
 *   `queued` says that the request waits, and `contended` that other requests wait for the lock.
 */
import type { BrokerLimits } from '@holdfast/server'
import { type HostileSession, pause } from './hostileSession.js'
import { acquire, floodingKind, type HostileGroup, type Kind, largeMetadata } from './kind.js'
import { addDescribedHolders, holdQueue } from './locking.js'
import { stealMaker } from './querying.js'

/** The deadlines of all sessions pass together, once in each interval of this length, in ms. */
const togetherMs = 1_000

/** The number of keys that a session locks in turn with a ttl or a maxHold. */
const ownKeyCount = 10_000
/** A session requests the key "knot" (see `tieKnot`) in this many scopes, one after another. */
const requestedScopeCount = 5_000
/** The sets of all sessions use only this many keys. */
const setKeyCount = 100
/** The longest timeout of a set, in ms. */
const longestSetTimeoutMs = 20
/** How long a session lets the other sessions acquire their shared locks, in ms. */
const gatherHoldersMs = 500
/**
 * A session leaves this many messages of a burst unused. A burst is how many messages a connection
 * may send at once.
 */
const burstReserve = 20
/** The largest number of records (locks, requests or calls) that a session has under way. */
const maxRecords = 2_000
/** The largest number of calls of `once` that a session has under way. */
const maxOnceCalls = 100
/** The longest value of `once`, in bytes. */
const maxValueBytes = 32_000

/** The time until the next moment at which the deadlines of all sessions pass, in ms. */
function msUntilTogether(): number {
  return Math.max(
    1,
    togetherMs - (Math.floor(performance.timeOrigin + performance.now()) % togetherMs),
  )
}

/**
 * A message that requests one of the session's own keys. The ttl or maxHold ends at the same moment
 * in all sessions.
 */
function lockOwn(session: HostileSession, endField: 'ttl' | 'maxHold'): string {
  const id = session.nextId()
  const key = `${session.welcome.session} ${id % ownKeyCount}`
  return `{"type":"lock","id":${id},"key":"${key}","timeout":0,"${endField}":${msUntilTogether()}}`
}

/** How many locks, requests or calls one session may have under way within the limits. */
function recordsOf({ locksPerSession, messageBurst, messagesPerSecond }: BrokerLimits): number {
  const burst =
    messagesPerSecond === Number.POSITIVE_INFINITY ? maxRecords : messageBurst - burstReserve
  // One lock less, because `downgradeToCrowd` also holds an exclusive lock.
  return Math.min(maxRecords, locksPerSession - 1, burst)
}

/** The fences of `granted` messages in a frame. */
function fencesIn(text: string): string[] {
  return Array.from(text.matchAll(/"granted","id":\d+,"fence":(\d+)/g), ([, fence]) => fence!)
}

/** Sends a request, and resolves with the fence of its lock. */
async function requestFence(session: HostileSession, message: string): Promise<string> {
  const granted = new Promise<string>((resolve) => {
    session.onText = (text) => {
      const [fence] = fencesIn(text)
      if (fence !== undefined) resolve(fence)
    }
  })
  await session.sendAll([message])
  return granted
}

/** Lets many shared requests wait for an exclusive lock. Then downgrades the lock to grant them. */
async function downgradeToCrowd(session: HostileSession, { limits }: HostileGroup): Promise<void> {
  const key = `crowd ${session.welcome.session}`
  const records = recordsOf(limits)
  while (session.isOpen) {
    // The steal ends all locks of the former round.
    const fence = await requestFence(session, stealMaker(session, key)())
    const request = (): string =>
      `{"type":"lock","id":${session.nextId()},"key":"${key}","mode":"shared"}`
    await session.sendAll(Array.from({ length: records }, request))
    await session.sendAll([`{"type":"downgrade","id":${session.nextId()},"fence":${fence}}`])
  }
}

/** Tries upgrades of a lock whose key has 16 holders with large metadata. */
async function upgradeDescribed(session: HostileSession): Promise<void> {
  const id = session.nextId()
  const request = `{"type":"lock","id":${id},"key":"described","mode":"shared"}`
  const fence = await requestFence(session, request)
  await session.flood(
    () => `{"type":"upgrade","id":${session.nextId()},"fence":${fence},"timeout":0}`,
  )
}

/** The number of sessions whose scopes share the key "knot" and wait. */
const knotSessionCount = 4

/** Makes scopes that share the key "knot", and that each wait for a key of their own. */
async function tieKnot(group: HostileGroup): Promise<void> {
  // The waiting session has two records in each scope: its lock of "knot" and its request.
  const scopes = Math.floor(recordsOf(group.limits) / 2)
  for (let n = 0; n < knotSessionCount; n++) {
    const holder = await group.openPlainSession()
    const waiting = await group.openPlainSession()
    for (let scope = 1; scope <= scopes; scope++) {
      const key = `wanted ${n} ${scope}`
      await Promise.all([
        acquire(holder, key),
        acquire(waiting, 'knot', `,"mode":"shared","scope":${scope}`),
      ])
      waiting.lock(key, () => {}, `,"scope":${scope}`)
    }
  }
}

/** Requests the key "knot" in a scope, so that the broker visits all scopes that share the key. */
function requestKnot(session: HostileSession): string {
  const id = session.nextId()
  const scope = 1 + (id % requestedScopeCount)
  return `{"type":"lock","id":${id},"key":"knot","scope":${scope},"timeout":1}`
}

/**
 * Requests a set that overlaps with the sets of all other sessions, because all sets have their
 * keys from the same 100 keys. The timeouts differ, so that the sets leave the queues one by one.
 */
function requestSet(session: HostileSession, { limits }: HostileGroup): string {
  const id = session.nextId()
  const keys = Array.from({ length: limits.keysPerSet }, (_, i) => `set ${(i + id) % setKeyCount}`)
  const items = keys.map((key) => `{"key":"${key}"}`).join()
  return `{"type":"lockAll","id":${id},"items":[${items}],"timeout":${1 + (id % longestSetTimeoutMs)}}`
}

/**
 * Calls `once` for the same key as all other sessions, many times at the same time. The broker
 * grants one call at a time, and its session completes this call with the longest value that the
 * limits allow.
 */
async function runForFollowers(session: HostileSession, { limits }: HostileGroup): Promise<void> {
  const calls = Math.min(maxOnceCalls, recordsOf(limits))
  // The other fields of `complete` fit in 1,000 bytes.
  const value = 'v'.repeat(Math.min(maxValueBytes, limits.frameBytes - 1_000))
  const call = (): string => `{"type":"once","id":${session.nextId()},"key":"run"}`
  let results = 0
  let fences: string[] = []
  let wake: () => void = () => {}
  session.onText = (text) => {
    fences.push(...fencesIn(text))
    results += text.split('"type":"result"').length - 1
    wake()
  }
  await session.sendAll(Array.from({ length: calls }, call))
  while (session.isOpen) {
    const granted = fences
    const newCalls = granted.length + results
    fences = []
    results = 0
    for (const fence of granted) {
      const complete = `{"type":"complete","id":${session.nextId()},"fence":${fence}`
      await session.sendAll([`${complete},"value":"${value}"}`])
    }
    await session.sendAll(Array.from({ length: newCalls }, call))
    // Answers that arrived during `sendAll` are handled first.
    if (fences.length + results > 0) continue
    await new Promise<void>((resolve) => {
      wake = resolve
    })
  }
}

/**
 * Leads an election of this session, and changes the large value of the leader again and again.
 * Every session observes all elections.
 */
async function proclaimToAll(session: HostileSession, { limits }: HostileGroup): Promise<void> {
  await session.sendAll([`{"type":"watch","id":${session.nextId()},"prefix":"election"}`])
  const key = `election ${session.welcome.session}`
  const fence = await requestFence(
    session,
    `{"type":"campaign","id":${session.nextId()},"key":"${key}"}`,
  )
  // From now on the session reads the events of its watch, but ignores their content.
  session.read('eagerly')
  // The limit of metadata also applies to the value of a leader.
  const value = largeMetadata(limits).replace('metadata', 'value')
  await session.flood(() => `{"type":"proclaim","id":${session.nextId()},"fence":${fence}${value}}`)
}

/** Watches a queue that all sessions, including this session, enter and leave. */
async function watchQueue(session: HostileSession): Promise<void> {
  await session.sendAll([`{"type":"watch","id":${session.nextId()},"key":"queue","queue":true}`])
  await session.flood(() => `{"type":"lock","id":${session.nextId()},"key":"queue","timeout":1}`)
}

/**
 * Acquires many shared locks of one key, each with a notice, and then floods exclusive requests for
 * this key.
 */
async function requestNotices(session: HostileSession, { limits }: HostileGroup): Promise<void> {
  const shared = (): string =>
    `{"type":"lock","id":${session.nextId()},"key":"noticed","mode":"shared","notify":["contended"]}`
  // The other half of the records is for the requests that follow.
  await session.sendAll(Array.from({ length: Math.floor(recordsOf(limits) / 2) }, shared))
  await pause(gatherHoldersMs)
  const fields = '"timeout":1,"notify":["queued"]'
  await session.flood(() => `{"type":"lock","id":${session.nextId()},"key":"noticed",${fields}}`)
}

const timingKinds: readonly Kind[] = [
  floodingKind({
    name: 'timeouts together',
    description: 'requests of all sessions that time out in the same millisecond',
    reading: 'eagerly',
    message: (session) => {
      const id = session.nextId()
      return `{"type":"lock","id":${id},"key":"queue","timeout":${msUntilTogether()}}`
    },
    prepare: holdQueue,
  }),
  floodingKind({
    name: 'ttls together',
    description: 'locks of all sessions that expire in the same millisecond',
    reading: 'eagerly',
    message: (session) => lockOwn(session, 'ttl'),
  }),
  floodingKind({
    name: 'maxHolds together',
    description: 'locks of all sessions whose maxHold ends in the same millisecond',
    reading: 'eagerly',
    message: (session) => lockOwn(session, 'maxHold'),
  }),
]

export const specialKinds: readonly Kind[] = [
  ...timingKinds,
  {
    name: 'downgrade to a crowd',
    description: 'a downgrade that grants thousands of shared locks',
    reading: 'attentively',
    act: downgradeToCrowd,
  },
  {
    name: 'refused upgrades',
    description: 'each answer describes holders with large metadata',
    reading: 'attentively',
    prepare: addDescribedHolders,
    act: upgradeDescribed,
  },
  floodingKind({
    name: 'scopes in a knot',
    description: 'a check for deadlocks that visits thousands of scopes',
    reading: 'eagerly',
    message: requestKnot,
    prepare: tieKnot,
  }),
  floodingKind({
    name: 'overlapping sets',
    description: 'sets of as many keys as the limits allow, which wait for each other',
    reading: 'eagerly',
    message: requestSet,
  }),
  {
    name: 'once with followers',
    description: 'thousands of calls that get the same value of 32 KB',
    reading: 'attentively',
    act: runForFollowers,
  },
  {
    name: 'proclaims observed',
    description: 'every session observes the large values of all leaders',
    reading: 'attentively',
    act: proclaimToAll,
  },
  floodingKind({
    name: 'barriers',
    description: 'barriers of a thousand calls, which open again and again',
    reading: 'eagerly',
    message: (session) =>
      `{"type":"barrier","id":${session.nextId()},"key":"barrier","parties":1000}`,
  }),
  {
    name: 'watched queue',
    description: 'every session watches the queue that all sessions enter and leave',
    reading: 'eagerly',
    prepare: holdQueue,
    act: watchQueue,
  },
  {
    name: 'contended notices',
    description: 'requests for a key whose thousands of holders want notices',
    reading: 'eagerly',
    act: requestNotices,
  },
]
