/** Hostile clients that only read: queries, watches, statistics. */

import type { HostileSession } from './hostileSession.js'
import type { HostileGroup, Kind } from './kind.js'
import { flooding } from './kind.js'

const query = (fields: string) => (): string => `{"type":"query","id":1${fields}}`

/** Opens all watches that the session may have, then changes one key that all of them report. */
async function watchAndChurn(
  session: HostileSession,
  { limits }: HostileGroup,
  scopeOf: (i: number) => string,
  key: string,
): Promise<void> {
  const watches = Array.from(
    { length: limits.watchesPerSession },
    (_, i) => `{"type":"watch","id":${i + 1}${scopeOf(i)}}`,
  )
  await session.sendAll(watches)
  for (let i = 0; i < watches.length; i++) session.nextId()
  await session.flood(steal(session, key))
}

/** A message that steals one key again and again: each is a loss and a grant. */
export function steal(session: HostileSession, key: string, fields = ''): () => string {
  return () => `{"type":"lock","id":${session.nextId()},"key":"${key}","steal":true${fields}}`
}

/** A long key, whose every beginning is a prefix of its own. */
const longKey = `churn${'x'.repeat(240)}`

/**
 * The number of sessions that watch and change keys, because the cost is watchers times changes.
 */
const fewWatchers = 10

export const queryingKinds: readonly Kind[] = [
  flooding(
    ['query limit 1', 'a walk over the whole table for each message, for one lock'],
    'eagerly',
    query(',"limit":1'),
  ),
  flooding(
    ['query no match', 'a walk over the whole table for each message, for no lock'],
    'eagerly',
    query(',"prefix":"nothing:"'),
  ),
  flooding(
    ['query the free key', 'the cheapest query: one look-up'],
    'eagerly',
    query(',"key":"good:0"'),
  ),
  flooding(['query all', 'a thousand locks in each answer'], 'eagerly', query('')),
  flooding(['query all unread', 'answers that the session does not read'], 'never', query('')),
  flooding(
    ['query all read lazily', 'answers that the session reads in bursts'],
    'lazily',
    query(''),
  ),
  flooding(
    ['query all read by bytes', 'answers that the session reads a byte at a time'],
    'byte by byte',
    query(''),
  ),
  {
    name: 'identical watches',
    description: 'as many watches of all keys as the limits allow, and changes',
    reading: 'eagerly',
    sessions: fewWatchers,
    act: (session, group) => watchAndChurn(session, group, () => '', 'churn'),
  },
  {
    name: 'different watches',
    description: 'watches of many prefixes of one long key, and its changes',
    reading: 'eagerly',
    sessions: fewWatchers,
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
    description: 'watches of all keys by sessions that read nothing, and changes',
    reading: 'never',
    sessions: fewWatchers,
    act: (session, group) => watchAndChurn(session, group, () => '', 'churn'),
  },
  flooding(
    ['watch and unwatch', 'a walk for each watch, which is gone at once'],
    'eagerly',
    (session) => {
      const isWatch = session.nextId() % 2 === 1
      return isWatch
        ? '{"type":"watch","id":1,"prefix":"nothing:"}'
        : '{"type":"unwatch","watch":1}'
    },
  ),
  flooding(
    ['stats', 'the statistics, again and again'],
    'eagerly',
    () => '{"type":"stats","id":1}',
  ),
]
