/**
 * The kinds of hostile clients that send queries, watches and requests for statistics. Words such
 * as `eagerly` say how a session reads (see `Reading`).
 */
import type { HostileSession } from './hostileSession.js'
import type { HostileGroup, Kind } from './kind.js'
import { floodingKind } from './kind.js'

/**
 * Returns a function that makes a query with these fields. The sessions ignore the answers, so all
 * queries may have the id 1.
 */
const queryMaker = (fields: string) => (): string => `{"type":"query","id":1${fields}}`

/**
 * Opens as many watches as the session may have, and then changes a key that all watches report.
 * `fieldsOf` makes the fields of each watch, which say what the broker reports to that watch.
 */
async function watchAndChurn(
  session: HostileSession,
  { limits }: HostileGroup,
  fieldsOf: (i: number) => string,
  key: string,
): Promise<void> {
  const watches = Array.from(
    { length: limits.watchesPerSession },
    (_, i) => `{"type":"watch","id":${i + 1}${fieldsOf(i)}}`,
  )
  await session.sendAll(watches)
  // Skips the ids of the watches, so that later messages have other ids.
  for (let i = 0; i < watches.length; i++) session.nextId()
  await session.flood(stealMaker(session, key))
}

/**
 * Returns a function that makes a message that steals a key. The holder loses its lock, and the
 * session gets a lock.
 */
export function stealMaker(session: HostileSession, key: string, fields = ''): () => string {
  return () => `{"type":"lock","id":${session.nextId()},"key":"${key}","steal":true${fields}}`
}

/** A key so long that many watches can each have another prefix of the key. */
const longKey = `churn${'x'.repeat(240)}`

/**
 * The number of sessions that watch and change keys. The number is small, because each change costs
 * the broker an event for each watch of each session.
 */
const watchingSessions = 10

/**
 * The key of a barrier. (A barrier opens when enough calls have come.) The key has nearly the
 * greatest length, because an answer repeats the key for each call.
 */
const crowdedBarrier = `crowded${'x'.repeat(240)}`
/** The number of calls that open the barrier. */
const parties = 1_000

/** Fills a barrier with as many calls of one session as the limits allow, but does not open it. */
async function fillBarrier(group: HostileGroup): Promise<void> {
  const session = await group.openSession(group.nextIndex())
  const calls = Math.min(parties - 1, group.limits.barriersPerSession)
  const call = (): string =>
    `{"type":"barrier","id":${session.nextId()},"key":"${crowdedBarrier}","parties":${parties}}`
  await session.sendAll(Array.from({ length: calls }, call))
}

export const queryingKinds: readonly Kind[] = [
  floodingKind({
    name: 'query limit 1',
    description: 'each message walks over the whole table, and lists one lock',
    reading: 'eagerly',
    message: queryMaker(',"limit":1'),
  }),
  floodingKind({
    name: 'query no match',
    description: 'each message walks over the whole table, and lists no lock',
    reading: 'eagerly',
    message: queryMaker(',"prefix":"nothing:"'),
  }),
  floodingKind({
    name: 'query the free key',
    description: 'the cheapest query: one look-up',
    reading: 'eagerly',
    // The first good client locks and unlocks this key, so the key is often free.
    message: queryMaker(',"key":"good 0:0"'),
  }),
  floodingKind({
    name: 'query a barrier limit 1',
    description: 'each message reads a barrier with 1,000 calls, and lists one call',
    reading: 'eagerly',
    message: queryMaker(`,"kind":"barriers","key":"${crowdedBarrier}","limit":1`),
    prepare: fillBarrier,
  }),
  floodingKind({
    name: 'query all',
    description: 'a thousand locks in each answer',
    reading: 'eagerly',
    message: queryMaker(''),
  }),
  floodingKind({
    name: 'query all unread',
    description: 'answers that the session does not read',
    reading: 'never',
    message: queryMaker(''),
  }),
  floodingKind({
    name: 'query all read lazily',
    description: 'answers that the session reads in bursts',
    reading: 'lazily',
    message: queryMaker(''),
  }),
  floodingKind({
    name: 'query all read by bytes',
    description: 'answers that the session reads a byte at a time',
    reading: 'byte by byte',
    message: queryMaker(''),
  }),
  {
    name: 'identical watches',
    description: 'as many watches of all keys as the limits allow, and changes of a key',
    reading: 'eagerly',
    sessions: watchingSessions,
    act: (session, group) => watchAndChurn(session, group, () => '', 'churn'),
  },
  {
    name: 'different watches',
    description: 'watches of many prefixes of one long key, and changes of this key',
    reading: 'eagerly',
    sessions: watchingSessions,
    act: (session, group) =>
      watchAndChurn(
        session,
        group,
        (i) => `,"prefix":"${longKey.slice(0, 1 + (i % longKey.length))}"`,
        longKey,
      ),
  },
  {
    name: 'watches unread',
    description: 'watches of all keys by sessions that read nothing, and changes of a key',
    reading: 'never',
    sessions: watchingSessions,
    act: (session, group) => watchAndChurn(session, group, () => '', 'churn'),
  },
  floodingKind({
    name: 'watch and unwatch',
    description: 'watches that walk over the table, and that the session ends at once',
    reading: 'eagerly',
    message: (session) => {
      // Every second message ends the watch.
      const isWatch = session.nextId() % 2 === 1
      return isWatch
        ? '{"type":"watch","id":1,"prefix":"nothing:"}'
        : '{"type":"unwatch","watch":1}'
    },
  }),
  floodingKind({
    name: 'stats',
    description: 'the statistics, again and again',
    reading: 'eagerly',
    message: () => '{"type":"stats","id":1}',
  }),
]
