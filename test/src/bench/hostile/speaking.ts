/** Hostile clients who speak: small messages and strange frames, acknowledgements, resumes. */
import type { HostileSession } from './hostileSession.js'
import { flooding, type Gang, type Kind, largeMetadata } from './kind.js'

/** Frames that are written at once, one message each. */
const atOnce = 500

/** Locks held, so that each resume has a large snapshot. */
const heldEach = 5_000

/** Comes back again and again, and is gone as soon as it is welcome. */
async function comeBack(session: HostileSession, gang: Gang): Promise<void> {
  const count = Math.min(heldEach, gang.limits.locksPerSession - 1)
  const held = Array.from({ length: count }, () => {
    const id = session.nextId()
    return `{"type":"lock","id":${id},"key":"${session.welcome.session} ${id}"}`
  })
  await session.sayAll(held)
  let { secret } = session.welcome
  const id = session.welcome.session
  const place = gang.takePlace()
  for (let nth = 1; !gang.isOver; nth++) {
    const resume = `,"resume":{"session":"${id}","secret":"${secret}","try":${nth}}`
    const next = await gang.session(place, `,"grace":"lease"${resume}`)
    if (next.welcome.session !== id) break
    secret = next.welcome.secret
    gang.forget(next)
  }
}

function acknowledge(session: HostileSession): string {
  const from = 1 + ((session.nextId() * 1_024) % 100_000)
  return `{"type":"ack","ids":[${Array.from({ length: 1_024 }, (_, i) => from + i)}]}`
}

export const speakingKinds: readonly Kind[] = [
  flooding(['pongs', 'an acknowledgement a message'], 'eagerly', () => '{"type":"pong","n":1}'),
  flooding(
    ['acks of unknown ids', '1,024 ids a message, none of them known'],
    'eagerly',
    acknowledge,
  ),
  flooding(
    ['acks unread', 'an acknowledgement a message, and none is read'],
    'never',
    () => '{"type":"ack","ids":[]}',
  ),
  {
    name: 'tiny frames',
    what: 'a frame for each message',
    reading: 'eagerly',
    act: (session) =>
      session.floodBy(atOnce, (wire, count) => wire.sendSingly('{"type":"pong","n":1}', count)),
  },
  {
    name: 'fragments',
    what: 'a message in fragments of one character',
    reading: 'eagerly',
    act: (session, { limits }) =>
      session.floodBy(1, (wire) => {
        const metadata = largeMetadata({ ...limits, metadataBytes: 1_000 })
        wire.sendInFragments(`{"type":"lock","id":1,"key":"k","timeout":0${metadata}}`)
      }),
  },
  {
    name: 'WebSocket pings unread',
    what: 'pings below the protocol, whose pongs nobody reads',
    reading: 'never',
    act: (session) => session.floodBy(atOnce, (wire, count) => wire.sendPings(count)),
  },
  flooding(
    ['refused messages', 'messages that are none, each with a reason'],
    'eagerly',
    () => '{"type":"lock","id":1,"key":7}',
  ),
  flooding(
    ['auth', 'a token that is not good, as long as it may be'],
    'eagerly',
    (session) => `{"type":"auth","id":${session.nextId()},"token":"${'t'.repeat(3_000)}"}`,
  ),
  {
    name: 'resume storm',
    what: 'sessions with many locks that come back and go at once',
    reading: 'eagerly',
    hello: ',"grace":"lease"',
    sessions: 20,
    act: comeBack,
  },
]
