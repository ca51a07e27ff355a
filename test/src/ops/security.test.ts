/**
 * Runs the table of attacks: each attack is tried end to end on a public broker (profile `public`,
 * JSON Web Tokens, one origin) while a good client holds a lock. After each attack, that client
 * still holds its lock, and the broker still serves.
 */
import { connect } from '@holdfast/client'
import { createBroker, jwtTokens } from '@holdfast/server'
import { subprotocol } from '@holdfast/shared'
import { expect } from 'chai'
import { pino } from 'pino'
import { RawClient } from '../e2e/raw.js'
import { Collector, Stage, untilHandled } from '../e2e/stage.js'
import { attacks, jwt, origin, secret, type Target } from './attacks.js'

describe('the broker under attack', () => {
  const stage = Stage.forEachTest()

  async function target(): Promise<Target> {
    const logged = new Collector<string>()
    const broker = createBroker({
      profile: 'public',
      authenticate: jwtTokens({ secret }),
      origins: [origin],
      // The attacks may use any number of addresses.
      trustedProxies: ['127.0.0.1'],
      allowInsecure: true,
      logger: pino({ level: 'info', base: null }, { write: logged.add }),
    })
    stage.onClear(() => broker.close())
    const { url, port } = await broker.listen({ port: 0 })
    const token = await jwt({ sub: 'good' })
    const good = await connect(url, { token, grace: 'lease' })
    stage.onClear(() => good.close())
    const lock = await good.lock('good:k')
    const raw = async (headers: Record<string, string> = {}, path = '') => {
      const client = new RawClient(`${url}${path}`, { protocols: [subprotocol], headers })
      stage.onClear(() => client.drop())
      await client.opened()
      return client
    }
    const hello = async (message: object, headers?: Record<string, string>) => {
      const client = await raw(headers)
      client.send({ type: 'hello', ...message })
      const { code, reason } = await client.closed()
      return `${code} ${reason}`
    }
    return { port, good, lock, logged, hello, raw }
  }

  for (const { attack, outcome, attempt } of attacks) {
    it(`refuses or contains this attack: ${attack}: ${outcome}`, async () => {
      const aim = await target()
      expect(await attempt(aim)).to.equal(outcome)
      expect(aim.lock.held).to.equal(true)
      await aim.lock.refresh()
      expect((await aim.good.lock('good:other')).held).to.equal(true)
      await untilHandled(aim.good)
    })
  }
})
