/** Hostile clients that send much: small messages, strange frames, acknowledgements and resumes. */
import type { HostileSession } from './hostileSession.js'
import { flooding, type HostileGroup, type Kind, largeMetadata } from './kind.js'

/** The number of frames that are written at once, one message each. */
const atOnce = 500

/** The number of locks of each session, so that each resume has a large snapshot. */
const heldEach = 5_000

/** Resumes again and again, and closes the connection as soon as it is welcomed. */
async function resumeAgain(session: HostileSession, group: HostileGroup): Promise<void> {
  const count = Math.min(heldEach, group.limits.locksPerSession - 1)
  const held = Array.from({ length: count }, () => {
    const id = session.nextId()
    return `{"type":"lock","id":${id},"key":"${session.welcome.session} ${id}"}`
  })
  await session.sendAll(held)
  let { secret } = session.welcome
  const id = session.welcome.session
  const place = group.takeIndex()
  for (let nth = 1; !group.isOver; nth++) {
    const resume = `,"resume":{"session":"${id}","secret":"${secret}","try":${nth}}`
    const next = await group.session(place, `,"grace":"lease"${resume}`)
    if (next.welcome.session !== id) break
    secret = next.welcome.secret
    group.closed(next)
  }
}

function acknowledge(session: HostileSession): string {
  const from = 1 + ((session.nextId() * 1_024) % 100_000)
  return `{"type":"ack","ids":[${Array.from({ length: 1_024 }, (_, i) => from + i)}]}`
}

export const sendingKinds: readonly Kind[] = [
  flooding(['pongs', 'one small message after another'], 'eagerly', () => '{"type":"pong","n":1}'),
  flooding(['acks of unknown ids', '1,024 unknown ids in each message'], 'eagerly', acknowledge),
  flooding(
    ['acks unread', 'an acknowledgement a message, and none is read'],
    'never',
    () => '{"type":"ack","ids":[]}',
  ),
  {
    name: 'tiny frames',
    description: 'a frame for each message',
    reading: 'eagerly',
    act: (session) =>
      session.floodBy(atOnce, (wire, count) => wire.sendSingly('{"type":"pong","n":1}', count)),
  },
  {
    name: 'fragments',
    description: 'a message in fragments of one character',
    reading: 'eagerly',
    act: (session, { limits }) =>
      session.floodBy(1, (wire) => {
        const metadata = largeMetadata({ ...limits, metadataBytes: 1_000 })
        wire.sendInFragments(`{"type":"lock","id":1,"key":"k","timeout":0${metadata}}`)
      }),
  },
  {
    name: 'WebSocket pings unread',
    description: 'WebSocket pings whose pongs the session does not read',
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
    description: 'sessions with many locks that resume and disconnect at once',
    reading: 'eagerly',
    hello: ',"grace":"lease"',
    sessions: 20,
    act: resumeAgain,
  },
]
