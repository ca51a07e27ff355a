/**
 * The kinds of hostile clients that send much: small messages, unusual frames, acknowledgements and
 * resumes. The grace is how long the broker keeps a session without a connection. The grace
 * `"lease"` is as long as the lease, which is how long the broker keeps a silent session.
 */
import type { HostileSession } from './hostileSession.js'
import { floodingKind, type HostileGroup, type Kind, largeMetadata } from './kind.js'

/** The number of frames, of one message each, that are written together. */
const framesAtOnce = 500

/**
 * The number of locks of each session. After each resume the broker sends a snapshot, which is long
 * because it lists these locks.
 */
const locksEach = 5_000
/** The number of ids in each acknowledgement: the most that the protocol allows. */
const idsPerAck = 1_024

/** Resumes the session again and again, and drops each connection right after its welcome. */
async function resumeAgain(
  session: HostileSession,
  group: HostileGroup,
  index: number,
): Promise<void> {
  // The sessions stay below the limit, so that the broker refuses none of the locks.
  const count = Math.min(locksEach, group.limits.locksPerSession - 1)
  const lockMessages = Array.from({ length: count }, () => {
    const id = session.nextId()
    return `{"type":"lock","id":${id},"key":"${session.welcome.session} ${id}"}`
  })
  await session.sendAll(lockMessages)
  let { secret } = session.welcome
  const sessionId = session.welcome.session
  for (let attempt = 1; !group.isOver; attempt++) {
    const resume = `,"resume":{"session":"${sessionId}","secret":"${secret}","try":${attempt}}`
    const resumed = await group.openSession(index, `,"grace":"lease"${resume}`)
    secret = resumed.welcome.secret
    group.drop(resumed)
    // If the ids differ, the broker has ended the session, and has opened a new session instead.
    if (resumed.welcome.session !== sessionId) break
  }
}

/** A message that acknowledges 1,024 ids of requests that the session did not send. */
function acknowledge(session: HostileSession): string {
  // The ids start again after about 100,000, so that each id has at most six digits.
  const from = 1 + ((session.nextId() * idsPerAck) % 100_000)
  return `{"type":"ack","ids":[${Array.from({ length: idsPerAck }, (_, i) => from + i)}]}`
}

export const sendingKinds: readonly Kind[] = [
  floodingKind({
    name: 'pongs',
    description: 'one small message after another',
    reading: 'eagerly',
    message: () => '{"type":"pong","n":1}',
  }),
  floodingKind({
    name: 'acks of unknown ids',
    description: '1,024 unknown ids in each message',
    reading: 'eagerly',
    message: acknowledge,
  }),
  floodingKind({
    name: 'acks unread',
    description: 'empty acks, whose answers the session does not read',
    reading: 'never',
    message: () => '{"type":"ack","ids":[]}',
  }),
  {
    // The kinds of `floodingKind` join many messages into each frame.
    name: 'tiny frames',
    description: 'small messages, each in a frame of its own',
    reading: 'eagerly',
    act: (session) =>
      session.floodBy(framesAtOnce, (wire, count) =>
        wire.sendSingly('{"type":"pong","n":1}', count),
      ),
  },
  {
    name: 'fragments',
    description: 'a message in fragments of one character',
    reading: 'eagerly',
    act: (session, { limits }) =>
      session.floodBy(1, (wire) => {
        // About a thousand fragments for each message.
        const metadata = largeMetadata({ ...limits, metadataBytes: 1_000 })
        wire.sendInFragments(`{"type":"lock","id":1,"key":"k","timeout":0${metadata}}`)
      }),
  },
  {
    name: 'WebSocket pings unread',
    description: 'WebSocket pings whose pongs the session does not read',
    reading: 'never',
    act: (session) => session.floodBy(framesAtOnce, (wire, count) => wire.sendPings(count)),
  },
  floodingKind({
    name: 'refused messages',
    description: 'invalid messages, which the broker refuses with a reason',
    reading: 'eagerly',
    message: () => '{"type":"lock","id":1,"key":7}',
  }),
  floodingKind({
    name: 'auth',
    description: 'an invalid token of the largest length',
    reading: 'eagerly',
    message: (session) => `{"type":"auth","id":${session.nextId()},"token":"${'t'.repeat(3_000)}"}`,
  }),
  {
    name: 'resume storm',
    description: 'sessions with many locks, which resume and then disconnect, again and again',
    reading: 'eagerly',
    hello: ',"grace":"lease"',
    sessions: 20,
    act: resumeAgain,
  },
]
