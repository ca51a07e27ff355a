/** Hostile clients who only look: queries, watches, statistics. */

import type { HostileSession } from './hostileSession.js'
import type { Gang, Kind } from './kind.js'
import { flooding } from './kind.js'

const query = (fields: string) => (): string => `{"type":"query","id":1${fields}}`

/** All watches that it may have, and then its own churn of one key that all of them see. */
async function watchAndChurn(
  session: HostileSession,
  { limits }: Gang,
  scopeOf: (i: number) => string,
  key: string,
): Promise<void> {
  const watches = Array.from(
    { length: limits.watchesPerSession },
    (_, i) => `{"type":"watch","id":${i + 1}${scopeOf(i)}}`,
  )
  await session.sayAll(watches)
  for (let i = 0; i < watches.length; i++) session.nextId()
  await session.flood(steal(session, key))
}

/** One message that takes a key again and again: each is a loss and a grant. */
export function steal(session: HostileSession, key: string, fields = ''): () => string {
  return () => `{"type":"lock","id":${session.nextId()},"key":"${key}","steal":true${fields}}`
}

/** Of this key every beginning is a prefix of its own. */
const longKey = `churn${'x'.repeat(240)}`

/** Watches of sessions that all churn: the product is what hurts. */
const fewWatchers = 10

export const lookingKinds: readonly Kind[] = [
  flooding(
    ['query limit 1', 'the whole table walked for each message, for one lock'],
    'eagerly',
    query(',"limit":1'),
  ),
  flooding(
    ['query no match', 'the whole table walked for each message, for nothing'],
    'eagerly',
    query(',"prefix":"nothing:"'),
  ),
  flooding(
    ['query the free key', 'a look-up a message, as cheap as can be'],
    'eagerly',
    query(',"key":"good:0"'),
  ),
  flooding(['query all', 'a thousand locks of answer a message'], 'eagerly', query('')),
  flooding(['query all unread', 'answers that nobody takes'], 'never', query('')),
  flooding(['query all read lazily', 'answers taken in bursts'], 'lazily', query('')),
  flooding(
    ['query all read by bytes', 'answers taken a byte at a time'],
    'byte by byte',
    query(''),
  ),
  {
    name: 'identical watches',
    what: 'as many watches of everything as may be, and churn',
    reading: 'eagerly',
    sessions: fewWatchers,
    act: (session, gang) => watchAndChurn(session, gang, () => '', 'churn'),
  },
  {
    name: 'different watches',
    what: 'as many prefixes of one long key as may be, and its churn',
    reading: 'eagerly',
    sessions: fewWatchers,
    act: (session, gang) =>
      watchAndChurn(
        session,
        gang,
        (i) => `,"prefix":"${longKey.slice(0, 1 + (i % longKey.length))}"`,
        longKey,
      ),
  },
  {
    name: 'watches unread',
    what: 'watches of everything by sessions that read nothing, and churn',
    reading: 'never',
    sessions: fewWatchers,
    act: (session, gang) => watchAndChurn(session, gang, () => '', 'churn'),
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
