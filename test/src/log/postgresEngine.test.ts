/**
 * Tests the engine that stores a shared command log in a real PostgreSQL: with the common suite of
 * engines, and with tests of the rules that only this engine has. The command log orders all
 * changes of the lock table.
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
  it('is being founded for all brokers, until one broker ends the founding', async () => {
    const first = await postgres.opened({ marksFounding: true })
    const second = await postgres.opened({ marksFounding: true })
    expect([first.isFounding, second.isFounding]).to.deep.equal([true, true])
    await first.endFounding()
    const third = await postgres.opened({ marksFounding: true })
    expect([first.isFounding, third.isFounding]).to.deep.equal([false, false])
  })

  it('is not being founded without the option marksFounding', async () => {
    const engine = await postgres.opened()
    expect(engine.isFounding).to.equal(false)
  })

  it('is found by an engine that looks for the other logs in its database', async () => {
    const schemas = ['a', 'b'].map((name) => `${postgres.schema}_${name}`)
    for (const schema of schemas) await postgres.opened({ schema })
    const found = await (await postgres.opened()).findOtherLogs()
    expect(found).to.include.members(schemas)
    expect(found).not.to.include(postgres.schema)
  })

  it('is kept apart from the other logs in its database', async () => {
    const schemas = ['a', 'b'].map((name) => `${postgres.schema}_${name}`)
    for (const schema of schemas) {
      const engine = await postgres.opened({ schema })
      await engine.append('s', schema)
      const reader = new Reader()
      engine.follow(0, reader)
      await reader.entries.waitForCount(1)
      expect(reader.entries.items).to.deep.equal([[1, schema]])
    }
  })
})
