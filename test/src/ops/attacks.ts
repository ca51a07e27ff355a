/**
 * The table of attacks on a public broker, one a row: the attack, its outcome, and the code that
 * tries it.
 */
import type { Lock, Session } from '@holdfast/client'
import { type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { dial, type RawClient, statusOf, upgradeHead } from '../e2e/raw.js'
import type { Collector } from '../e2e/stage.js'

/** Of the issuer of the tokens. */
export const secret = 'the secret of the issuer, well over 32 bytes'
export const origin = 'https://app.example'

interface Claims extends JWTPayload {
  readonly holdfast?: object
}

export function jwt(claims: Claims, alg = 'HS256', key = secret): Promise<string> {
  const soon = Math.floor(Date.now() / 1_000) + 600
  const all = { aud: 'holdfast', exp: soon, holdfast: [{ keys: [`${claims.sub}:*`] }], ...claims }
  return new SignJWT(all).setProtectedHeader({ alg }).sign(new TextEncoder().encode(key))
}

/** What an attack has to work with. */
export interface Target {
  readonly port: number
  readonly good: Session
  readonly lock: Lock
  readonly logged: Collector<string>
  /** Opens a connection, says this hello, and returns how it is closed, or "open". */
  hello(hello: object, headers?: Record<string, string>): Promise<string>
  /** A connection that has said nothing yet. */
  raw(headers?: Record<string, string>, path?: string): Promise<RawClient>
}

interface Attack {
  readonly what: string
  readonly happens: string
  /** Returns what happened. */
  readonly attempt: (target: Target) => Promise<string>
}

export const attacks: readonly Attack[] = [
  {
    what: 'a page of another origin connects',
    happens: '403 before the upgrade',
    attempt: async ({ port }) => statusFor(port, { origin: 'https://evil.example' }),
  },
  {
    what: 'a sandboxed page, whose origin is null, connects',
    happens: '403 before the upgrade',
    attempt: async ({ port }) => statusFor(port, { origin: 'null' }),
  },
  {
    what: 'a page whose own name leads to the broker (DNS rebinding) connects',
    happens: '403 before the upgrade',
    attempt: async ({ port }) => statusFor(port, { host: 'evil.example', origin }),
  },
  {
    what: 'nobody says who they are',
    happens: '4401 unauthorized',
    attempt: ({ hello }) => hello({}),
  },
  {
    what: 'a token without a signature (alg none)',
    happens: '4401 unauthorized',
    attempt: ({ hello }) => {
      const payload = { sub: 'eve', aud: 'holdfast', exp: 4e9 }
      return hello({ token: new UnsecuredJWT(payload).encode() })
    },
  },
  {
    what: 'a token signed with another secret',
    happens: '4401 unauthorized',
    attempt: async ({ hello }) =>
      hello({ token: await jwt({ sub: 'eve' }, 'HS256', `x${secret}`) }),
  },
  {
    what: 'a token of another algorithm',
    happens: '4401 unauthorized',
    attempt: async ({ hello }) => hello({ token: await jwt({ sub: 'eve' }, 'HS512') }),
  },
  {
    what: 'a token that has ended',
    happens: '4401 unauthorized',
    attempt: async ({ hello }) => hello({ token: await jwt({ sub: 'eve', exp: 1_700_000_000 }) }),
  },
  {
    what: 'a token for another audience',
    happens: '4401 unauthorized',
    attempt: async ({ hello }) => hello({ token: await jwt({ sub: 'eve', aud: 'elsewhere' }) }),
  },
  {
    what: 'a good token in the URL',
    happens: '4401 unauthorized',
    attempt: async ({ raw }) => {
      const client = await raw({}, `/?token=${await jwt({ sub: 'eve' })}`)
      client.say({ type: 'hello' })
      return closeOf(client)
    },
  },
  {
    what: 'a client locks, steals, queries, watches and revokes what is not its own',
    happens: 'FORBIDDEN, five times',
    attempt: async ({ raw, lock }) => {
      const client = await raw()
      client.say({ type: 'hello', token: await jwt({ sub: 'eve' }) })
      await client.hear('welcome')
      const { key, fence } = lock
      const asks = [
        { type: 'lock', key },
        { type: 'lock', key, steal: true },
        { type: 'query', key },
        { type: 'watch', key },
        { type: 'revoke', key, fence, reason: 'mine now' },
      ]
      const codes: string[] = []
      for (const [i, ask] of asks.entries()) {
        client.say({ id: i + 1, ...ask })
        codes.push((await client.hear('failed')).code)
      }
      client.vanish()
      return new Set(codes).size === 1 && codes.length === 5
        ? `${codes[0]}, five times`
        : `${codes}`
    },
  },
  {
    what: 'a stranger takes up a session with its id and a guessed secret',
    happens: 'a new session, and the old one goes on',
    attempt: ({ good, raw }) => takeUp(raw, 'good', { session: good.id, secret: 'x'.repeat(43) }),
  },
  {
    what: 'another principal takes up a session with its stolen secret',
    happens: 'a new session, and the old one goes on',
    attempt: async ({ raw }) => {
      const victim = await raw()
      victim.say({ type: 'hello', token: await jwt({ sub: 'victim' }), grace: 10_000 })
      const welcome = await victim.hear('welcome')
      const resume = { session: welcome.session, secret: welcome.secret! }
      const outcome = await takeUp(raw, 'eve', resume)
      victim.say({ type: 'lock', id: 1, key: 'victim:k' })
      await victim.hear('granted')
      victim.vanish()
      return outcome
    },
  },
  {
    what: 'a thief with both token and secret takes up a session',
    happens: 'the victim is closed with 4409, and knows',
    attempt: async ({ raw }) => {
      const victim = await raw()
      const token = await jwt({ sub: 'victim' })
      victim.say({ type: 'hello', token, grace: 10_000 })
      const { session, secret: stolen } = await victim.hear('welcome')
      const thief = await raw()
      thief.say({ type: 'hello', token, resume: { session, secret: stolen! } })
      await thief.hear('welcome')
      const { code } = await victim.closed()
      thief.vanish()
      return `the victim is closed with ${code}, and knows`
    },
  },
  {
    what: 'a name and a key that are log lines themselves',
    happens: 'one line each, spelt out',
    attempt: async ({ raw, logged }) => {
      const forged = 'x\n{"level":50,"msg":"forged"}\u001b[2J\u202e'
      const client = await raw()
      client.say({ type: 'hello', token: await jwt({ sub: 'eve' }), name: forged })
      await client.hear('welcome')
      client.say({ type: 'lock', id: 1, key: 'k\u202e{"msg":"forged"}' })
      await client.hear('failed')
      client.say({ type: 'bye' })
      await client.closed()
      const lines = await logged.until((all) => all.some((one) => one.includes('goodbye')))
      const clean = lines.every(
        (one) => JSON.parse(one).msg !== 'forged' && !/\p{C}/u.test(one.trimEnd()),
      )
      return clean ? 'one line each, spelt out' : lines.join('')
    },
  },
  {
    what: 'a flood of messages from one session',
    happens: '4429 quota exceeded: messagesPerSecond 50',
    attempt: async ({ raw }) => {
      const client = await raw()
      client.say({ type: 'hello', token: await jwt({ sub: 'eve' }) })
      await client.hear('welcome')
      client.say(...Array.from({ length: 300 }, (_, i) => ({ type: 'stats', id: i + 1 })))
      return closeOf(client)
    },
  },
  {
    what: 'a flood of sessions with one token',
    happens: '4429 quota exceeded: sessionsPerPrincipal 20',
    attempt: async ({ raw }) => {
      const token = await jwt({ sub: 'eve' })
      const clients: RawClient[] = []
      for (let i = 0; i < 20; i++) {
        const client = await raw({ 'x-forwarded-for': `203.0.113.${i}` })
        client.say({ type: 'hello', token })
        await client.hear('welcome')
        clients.push(client)
      }
      const one = await raw({ 'x-forwarded-for': '203.0.113.99' })
      one.say({ type: 'hello', token })
      const outcome = await closeOf(one)
      for (const client of clients) client.vanish()
      return outcome
    },
  },
  {
    what: 'a flood of upgrades from one address',
    happens: '429 beyond the burst',
    attempt: async ({ port }) => {
      const ask = () => statusFor(port, { 'x-forwarded-for': '198.51.100.1' })
      const answers = await Promise.all(Array.from({ length: 200 }, ask))
      const refused = answers.filter((one) => one === '429 before the upgrade').length
      // Twenty at once, and twenty more for each second that this takes.
      return refused > 0 ? '429 beyond the burst' : `${refused} refused`
    },
  },
  {
    what: 'a frame of 17 KiB',
    happens: '1009 ',
    attempt: async ({ raw }) => {
      const client = await raw()
      client.say({ type: 'hello', token: 'x'.repeat(17 * 1_024) })
      return closeOf(client)
    },
  },
  {
    what: 'bytes that are no frame, after the upgrade',
    happens: 'the connection is gone',
    attempt: async ({ port }) => {
      const socket = await dial(port)
      socket.write(upgradeHead('/', { 'x-forwarded-for': '198.51.100.7' }))
      socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))
      socket.resume()
      await new Promise((resolve) => socket.once('close', resolve))
      return 'the connection is gone'
    },
  },
]

async function closeOf(client: RawClient): Promise<string> {
  const { code, reason } = await client.closed()
  return `${code} ${reason}`
}

async function statusFor(port: number, headers: Record<string, string>): Promise<string> {
  const [, code] = (await statusOf(port, upgradeHead('/', headers))).split(' ')
  return `${code} before the upgrade`
}

async function takeUp(raw: Target['raw'], sub: string, resume: object): Promise<string> {
  const thief = await raw()
  thief.say({ type: 'hello', token: await jwt({ sub }), resume })
  const { resumed } = await thief.hear('welcome')
  thief.vanish()
  return resumed ? 'the session is stolen' : 'a new session, and the old one goes on'
}
