/**
 * Tests `session.locks` against every rule of the Web Locks specification. Each rule has a
 * scenario, which runs with one session, and again with two sessions of one broker. In
 * `test/src/browser` the same scenarios run in a browser, with `navigator.locks` and with
 * `session.locks`.
 */
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { scenarios } from './scenarios/index.js'
import { Script, sortedBetweenQuietPoints } from './script.js'

describe('session.locks compared with the specification', () => {
  const stage = Stage.forEachTest()

  for (const { title, run, log: expectedLog } of scenarios) {
    it(title, async () => {
      const { sessions } = await stage.startBrokerWithSessions('one')
      const { locks } = sessions[0]!
      // A scenario has two clients; here the same session plays both. The names of the locks need
      // no prefix, because each test has its own broker.
      const script = new Script(locks, locks, '')
      await run(script)
      expect(script.log).to.deep.equal(expectedLog)
    })

    it(`${title} (with two sessions)`, async () => {
      const { sessions, broker } = await stage.startBrokerWithSessions('one', 'other')
      const script = new Script(sessions[0]!.locks, sessions[1]!.locks, 'ours:')
      await run(script)
      // A quiet point is a point of the log at which all earlier effects have ended. Between quiet
      // points, two sessions may learn of grants in another order than one session does.
      const { quietPoints } = script
      expect(sortedBetweenQuietPoints(script.log, quietPoints)).to.deep.equal(
        sortedBetweenQuietPoints(expectedLog, quietPoints),
      )
      expect(broker.query()).to.include({ heldCount: 0, waitingCount: 0 })
    })
  }
})
