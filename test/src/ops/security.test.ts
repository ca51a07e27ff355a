/**
 * Tries each attack of the table in `attacks.ts` on a public broker, while an honest client holds a
 * lock. The broker has the profile `public`, accepts JSON Web Tokens and allows pages of one
 * origin. After each attack, the honest client must still hold its lock, and the broker must still
 * serve.
 */
import { connect } from '@holdfast/client'
import { createBroker, jwtTokens } from '@holdfast/server'
import { subprotocol } from '@holdfast/shared'
import { expect } from 'chai'
import { pino } from 'pino'
import { RawClient } from '../e2e/raw.js'
import { Collector, Stage, untilMessagesHandled } from '../e2e/stage.js'
import { attacks, jwt, origin, secret, type Target } from './attacks.js'

describe('the broker under attack', () => {
  const stage = Stage.forEachTest()

  /** Starts the broker to attack, and an honest client that holds a lock. */
  async function startTarget(): Promise<Target> {
    const logged = new Collector<string>()
    const broker = createBroker({
      profile: 'public',
      authenticate: jwtTokens({ secret }),
      origins: [origin],
      // The attacks choose their addresses by the header `x-forwarded-for`.
      trustedProxies: ['127.0.0.1'],
      allowInsecure: true,
      logger: pino({ level: 'info', base: null }, { write: logged.add }),
    })
    stage.onCleanUp(() => broker.close())
    const { url, port } = await broker.listen({ port: 0 })
    const token = await jwt({ sub: 'honest' })
    const honestSession = await connect(url, { token, grace: 'lease' })
    stage.onCleanUp(() => honestSession.close())
    const honestLock = await honestSession.lock('honest:k')
    const raw = async (headers: Record<string, string> = {}, path = '') => {
      const client = new RawClient(`${url}${path}`, { protocols: [subprotocol], headers })
      stage.onCleanUp(() => client.drop())
      await client.opened()
      return client
    }
    // Each `hello` of an attack makes the broker close the connection.
    const hello = async (message: object, headers?: Record<string, string>) => {
      const client = await raw(headers)
      client.send({ type: 'hello', ...message })
      const { code, reason } = await client.closed()
      return `${code} ${reason}`
    }
    return { port, honestSession, honestLock, logged, hello, raw }
  }

  for (const { attack, outcome, attempt } of attacks) {
    it(`withstands the attack "${attack}" with the outcome "${outcome}"`, async () => {
      const target = await startTarget()
      expect(await attempt(target)).to.equal(outcome)
      expect(target.honestLock.held).to.equal(true)
      await target.honestLock.refresh()
      expect((await target.honestSession.lock('honest:other')).held).to.equal(true)
      // The broker still answers the honest client.
      await untilMessagesHandled(target.honestSession)
    })
  }
})
