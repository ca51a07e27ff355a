/**
 * Tests the engine that stores a command log in a real PostgreSQL. Several brokers share the log,
 * which orders all changes of the lock table. The common suite of engines comes first, and then
 * tests of the rules that only this engine has.
 */
import { expect } from 'chai'
import { engineSuite } from './engineSuite.js'
import { Reader } from './etcdStage.js'
import { PostgresStage } from './postgresStage.js'

engineSuite('in PostgreSQL', () => PostgresStage.forSuite())

describe('log: a new log in PostgreSQL', function () {
  this.timeout(60_000)
  const postgres = PostgresStage.forSuite()

  // While a log is being founded, no broker serves clients, because a majority has not joined yet.
  it('is being founded until one broker ends the founding, and each engine knows this when it opens', async () => {
    const first = await postgres.openEngine({ marksFounding: true })
    const second = await postgres.openEngine({ marksFounding: true })
    expect([first.isFounding, second.isFounding]).to.deep.equal([true, true])
    await first.endFounding()
    const third = await postgres.openEngine({ marksFounding: true })
    expect([first.isFounding, third.isFounding]).to.deep.equal([false, false])
  })

  it('is not being founded without the option marksFounding', async () => {
    const engine = await postgres.openEngine()
    expect(engine.isFounding).to.equal(false)
  })

  it('is listed by findOtherLogs of another log in the same database, but not by its own', async () => {
    const schemas = ['a', 'b'].map((name) => `${postgres.schema}_${name}`)
    for (const schema of schemas) await postgres.openEngine({ schema })
    const found = await (await postgres.openEngine()).findOtherLogs()
    expect(found).to.include.members(schemas)
    expect(found).not.to.include(postgres.schema)
  })

  it('is kept apart from the other logs in its database', async () => {
    const schemas = ['a', 'b'].map((name) => `${postgres.schema}_${name}`)
    for (const schema of schemas) {
      const engine = await postgres.openEngine({ schema })
      await engine.append('s', schema)
      const reader = new Reader()
      engine.follow(0, reader)
      await reader.entries.waitForCount(1)
      expect(reader.entries.items).to.deep.equal([[1, schema]])
    }
  })
})
