/**
 * The table of attacks on a public broker, for `security.test.ts`. Each row has the attack, the
 * expected outcome, and the code that tries the attack. The limits in the outcomes are those of the
 * profile `public`. A fence is the number of a grant. The grace is how long a session survives the
 * loss of its connection.
 */
import type { Lock, Session } from '@holdfast/client'
import { type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { openTcp, type RawClient, sendAndReadStatus, upgradeHead } from '../e2e/raw.js'
import type { Collector } from '../e2e/stage.js'

/** The secret of the issuer of the tokens. */
export const secret = 'the secret of the issuer, well over 32 bytes'
export const origin = 'https://app.example'

interface Claims extends JWTPayload {
  /** The permission rules. Default: one rule for the keys that begin with the `sub` and a colon. */
  readonly holdfast?: object
}

/** Signs a JSON Web Token. The token expires in ten minutes, unless `claims` has another expiry. */
export function jwt(claims: Claims, alg = 'HS256', key = secret): Promise<string> {
  const expiresAt = Math.floor(Date.now() / 1_000) + 600
  const payload = {
    aud: 'holdfast',
    exp: expiresAt,
    holdfast: [{ keys: [`${claims.sub}:*`] }],
    ...claims,
  }
  return new SignJWT(payload).setProtectedHeader({ alg }).sign(new TextEncoder().encode(key))
}

/** A broker under attack, and helpers to attack the broker. */
export interface Target {
  readonly port: number
  /** The session of an honest client, which must survive the attack. */
  readonly honestSession: Session
  /** A lock of the honest client. */
  readonly honestLock: Lock
  /** The log lines of the broker. */
  readonly logged: Collector<string>
  /** Opens a connection, sends this hello, and returns the code and the reason of the close. */
  hello(hello: object, headers?: Record<string, string>): Promise<string>
  /** Opens a connection to the path (by default `/`), and sends no hello. */
  raw(headers?: Record<string, string>, path?: string): Promise<RawClient>
}

interface Attack {
  readonly attack: string
  readonly outcome: string
  /** Tries the attack and returns its outcome. */
  readonly attempt: (target: Target) => Promise<string>
}

export const attacks: readonly Attack[] = [
  {
    attack: 'a page of another origin connects',
    outcome: '403 before the upgrade',
    attempt: async ({ port }) => statusFor(port, { origin: 'https://evil.example' }),
  },
  {
    attack: 'a sandboxed page, whose origin is null, connects',
    outcome: '403 before the upgrade',
    attempt: async ({ port }) => statusFor(port, { origin: 'null' }),
  },
  {
    attack: 'DNS rebinding: a page connects to its own host name, which resolves to the broker',
    outcome: '403 before the upgrade',
    attempt: async ({ port }) => statusFor(port, { host: 'evil.example', origin }),
  },
  {
    attack: 'a client sends no token',
    outcome: '4401 unauthorized: no token was sent',
    attempt: ({ hello }) => hello({}),
  },
  {
    attack: 'a token without a signature (alg none)',
    outcome: '4401 unauthorized: the token was not accepted',
    attempt: ({ hello }) => {
      // The token expires in the year 2096.
      const payload = { sub: 'eve', aud: 'holdfast', exp: 4e9 }
      return hello({ token: new UnsecuredJWT(payload).encode() })
    },
  },
  {
    attack: 'a token signed with another secret',
    outcome: '4401 unauthorized: the token was not accepted',
    attempt: async ({ hello }) =>
      hello({ token: await jwt({ sub: 'eve' }, 'HS256', `x${secret}`) }),
  },
  {
    attack: 'a token of another algorithm',
    outcome: '4401 unauthorized: the token was not accepted',
    attempt: async ({ hello }) => hello({ token: await jwt({ sub: 'eve' }, 'HS512') }),
  },
  {
    attack: 'an expired token',
    outcome: '4401 unauthorized: the token was not accepted',
    // The token expired in the year 2023.
    attempt: async ({ hello }) => hello({ token: await jwt({ sub: 'eve', exp: 1_700_000_000 }) }),
  },
  {
    attack: 'a token for another audience',
    outcome: '4401 unauthorized: the token was not accepted',
    attempt: async ({ hello }) => hello({ token: await jwt({ sub: 'eve', aud: 'elsewhere' }) }),
  },
  {
    attack: 'a valid token in the URL',
    outcome: '4401 unauthorized: no token was sent',
    attempt: async ({ raw }) => {
      const client = await raw({}, `/?token=${await jwt({ sub: 'eve' })}`)
      client.send({ type: 'hello' })
      return closeOf(client)
    },
  },
  {
    attack: 'a client locks, steals, queries, watches and revokes without permission',
    outcome: 'FORBIDDEN, five times',
    attempt: async ({ raw, honestLock }) => {
      const client = await raw()
      client.send({ type: 'hello', token: await jwt({ sub: 'eve' }) })
      await client.receive('welcome')
      const { key, fence } = honestLock
      const requests = [
        { type: 'lock', key },
        { type: 'lock', key, steal: true },
        { type: 'query', key },
        { type: 'watch', key },
        { type: 'revoke', key, fence, reason: 'mine now' },
      ]
      const codes: string[] = []
      for (const [i, request] of requests.entries()) {
        client.send({ id: i + 1, ...request })
        codes.push((await client.receive('failed')).code)
      }
      client.drop()
      return new Set(codes).size === 1 && codes.length === 5
        ? `${codes[0]}, five times`
        : `${codes}`
    },
  },
  {
    attack: 'a client knows the id of a session, and guesses its secret to resume the session',
    outcome: 'a new session, and the old session continues',
    // The secret of a session has 43 characters: 32 bytes in base64url.
    attempt: ({ honestSession, raw }) =>
      tryResume(raw, 'honest', { session: honestSession.id, secret: 'x'.repeat(43) }),
  },
  {
    attack: 'another principal resumes a session with its stolen secret',
    outcome: 'a new session, and the old session continues',
    attempt: async ({ raw }) => {
      const victim = await raw()
      victim.send({ type: 'hello', token: await jwt({ sub: 'victim' }), grace: 10_000 })
      const welcome = await victim.receive('welcome')
      const resume = { session: welcome.session, secret: welcome.secret! }
      const outcome = await tryResume(raw, 'eve', resume)
      victim.send({ type: 'lock', id: 1, key: 'victim:k' })
      await victim.receive('granted')
      victim.drop()
      return outcome
    },
  },
  {
    attack: 'a client resumes a session with the stolen token and secret of the victim',
    outcome: 'the connection of the victim is closed with 4409',
    attempt: async ({ raw }) => {
      const victim = await raw()
      const token = await jwt({ sub: 'victim' })
      victim.send({ type: 'hello', token, grace: 10_000 })
      const { session, secret: stolen } = await victim.receive('welcome')
      const hijacker = await raw()
      hijacker.send({ type: 'hello', token, resume: { session, secret: stolen! } })
      await hijacker.receive('welcome')
      const { code } = await victim.closed()
      hijacker.drop()
      return `the connection of the victim is closed with ${code}`
    },
  },
  {
    attack: 'a name and a key that contain log lines',
    outcome: 'one escaped log line each',
    attempt: async ({ raw, logged }) => {
      // `\u001b[2J` clears a terminal, and `\u202e` reverses the direction of the text.
      const forged = 'x\n{"level":50,"msg":"forged"}\u001b[2J\u202e'
      const client = await raw()
      client.send({ type: 'hello', token: await jwt({ sub: 'eve' }), name: forged })
      await client.receive('welcome')
      client.send({ type: 'lock', id: 1, key: 'k\u202e{"msg":"forged"}' })
      await client.receive('failed')
      client.send({ type: 'bye' })
      await client.closed()
      const lines = await logged.waitUntil((all) => all.some((line) => line.includes('goodbye')))
      const isClean = lines.every(
        (line) => JSON.parse(line).msg !== 'forged' && !/\p{C}/u.test(line.trimEnd()),
      )
      return isClean ? 'one escaped log line each' : lines.join('')
    },
  },
  {
    attack: 'a flood of messages from one session',
    outcome: '4429 quota exceeded: messagesPerSecond 50',
    attempt: async ({ raw }) => {
      const client = await raw()
      client.send({ type: 'hello', token: await jwt({ sub: 'eve' }) })
      await client.receive('welcome')
      // The broker accepts a burst of 200 messages, and 50 more in each second of this test.
      client.send(...Array.from({ length: 300 }, (_, i) => ({ type: 'stats', id: i + 1 })))
      return closeOf(client)
    },
  },
  {
    attack: 'a flood of sessions with one token',
    outcome: '4429 quota exceeded: sessionsPerPrincipal 20',
    attempt: async ({ raw }) => {
      const token = await jwt({ sub: 'eve' })
      const clients: RawClient[] = []
      // Each client has its own address, so that the limits per address refuse no client.
      for (let i = 0; i < 20; i++) {
        const client = await raw({ 'x-forwarded-for': `203.0.113.${i}` })
        client.send({ type: 'hello', token })
        await client.receive('welcome')
        clients.push(client)
      }
      const client = await raw({ 'x-forwarded-for': '203.0.113.99' })
      client.send({ type: 'hello', token })
      const outcome = await closeOf(client)
      for (const client of clients) client.drop()
      return outcome
    },
  },
  {
    attack: 'a flood of connection attempts from one address',
    outcome: '429 beyond the burst',
    attempt: async ({ port }) => {
      const upgrade = () => statusFor(port, { 'x-forwarded-for': '198.51.100.1' })
      // The broker accepts 20 upgrades immediately, and 20 more in each second of this test.
      const answers = await Promise.all(Array.from({ length: 200 }, upgrade))
      const refusedCount = answers.filter((answer) => answer === '429 before the upgrade').length
      return refusedCount > 0 ? '429 beyond the burst' : 'no upgrade was refused'
    },
  },
  {
    attack: 'a frame of 17 KiB',
    // A frame may have at most 16 KiB. The outcome ends with a space, because this close has an
    // empty reason.
    outcome: '1009 ',
    attempt: async ({ raw }) => {
      const client = await raw()
      client.send({ type: 'hello', token: 'x'.repeat(17 * 1_024) })
      return closeOf(client)
    },
  },
  {
    attack: 'a client upgrades, and then sends bytes that are no WebSocket frame',
    outcome: 'the connection is closed',
    attempt: async ({ port }) => {
      const socket = await openTcp(port)
      // The attacker has another address than the honest client.
      socket.write(upgradeHead('/', { 'x-forwarded-for': '198.51.100.7' }))
      // These bytes set reserved bits, which no frame of the broker's protocol may set.
      socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))
      socket.resume()
      await new Promise((resolve) => socket.once('close', resolve))
      return 'the connection is closed'
    },
  },
]

/** The code and the reason of the close of a connection. */
async function closeOf(client: RawClient): Promise<string> {
  const { code, reason } = await client.closed()
  return `${code} ${reason}`
}

/** Attempts an upgrade with these headers. Returns for instance `403 before the upgrade`. */
async function statusFor(port: number, headers: Record<string, string>): Promise<string> {
  const [, code] = (await sendAndReadStatus(port, upgradeHead('/', headers))).split(' ')
  return `${code} before the upgrade`
}

/** Tries to resume a session as the principal `sub`. */
async function tryResume(raw: Target['raw'], sub: string, resume: object): Promise<string> {
  const hijacker = await raw()
  hijacker.send({ type: 'hello', token: await jwt({ sub }), resume })
  const { resumed } = await hijacker.receive('welcome')
  hijacker.drop()
  return resumed ? 'the session is stolen' : 'a new session, and the old session continues'
}
