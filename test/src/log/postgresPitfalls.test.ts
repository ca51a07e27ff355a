/**
 * Tests the known pitfalls of a command log (the record of all changes of locks) in PostgreSQL:
 * properties of PostgreSQL by which other projects have lost entries. The number in the title of a
 * test is the number of its pitfall; `postgresFailover.test.ts` has the pitfalls 7 to 9. After
 * the SQL command LISTEN, a session of the database gets a notification of each entry. Two calls of
 * `append` with the same slot (the first argument) and the same text store only one entry.
 */
import { heartbeatMsFor, type PostgresEngine } from '@holdfast/server/internal'
import { expect } from 'chai'
import { expectRejection, Stage } from '../e2e/stage.js'
import { type Filter, TcpProxy } from '../faults/proxy.js'
import { Valve } from '../faults/valve.js'
import { quickOrFull } from '../support/counts.js'
import { logConfig, Reader } from './etcdStage.js'
import { appendUntilKnown, PostgresStage } from './postgresStage.js'

describe('log: pitfalls of a log in PostgreSQL', function () {
  this.timeout(60_000)
  const postgres = PostgresStage.forSuite()
  const stage = Stage.forEachTest()

  /** Starts a proxy in front of the server. `filtersOf` returns the filters of each connection. */
  async function startProxy(filtersOf: (index: number) => { up?: Filter; down?: Filter }) {
    const proxy = await TcpProxy.to(postgres.server.port, filtersOf)
    stage.onCleanUp(() => proxy.close())
    return { proxy, port: Number(new URL(proxy.url).port) }
  }

  /** Makes a reader that follows the log. `reader.ends` has the reason why its reading ended. */
  function followWithReader(engine: PostgresEngine, position = 0): Reader {
    const reader = new Reader()
    engine.follow(position, reader)
    return reader
  }

  it('1: positions have the order of commits, although a transaction is slow', async () => {
    const [engine, other] = [await postgres.openEngine(), await postgres.openEngine()]
    const { schema } = postgres
    const reader = followWithReader(other)
    await engine.append('a', 'first')
    // A slow transaction locks the row with the newest position, and does not commit.
    const slowConnection = await postgres.server.sql.reserve()
    await slowConnection.unsafe('begin')
    await slowConnection.unsafe(`update ${schema}.log_state set position = position`)
    const appending = engine.append('a', 'second')
    await slowConnection.unsafe('rollback')
    slowConnection.release()
    await appending
    await reader.entries.waitForCount(2)
    expect(reader.entries.items).to.deep.equal([
      [1, 'first'],
      [2, 'second'],
    ])
    expect(reader.ends.items).to.deep.equal([])
  })

  it('1: a reader stops at a gap, because the log has lost an entry', async () => {
    const engine = await postgres.openEngine()
    for (const text of ['a', 'b', 'c']) await engine.append('s', text)
    await postgres.server.sql.unsafe(
      `delete from ${postgres.schema}.log_entries where position = 2`,
    )
    const reader = followWithReader(await postgres.openEngine())
    const [message] = await reader.ends.waitForCount(1)
    expect(message).to.match(/was replaced \(entry 2 is missing\)/)
    expect(reader.texts).to.deep.equal(['a'])
  })

  it('2: a reader stops if the stored position is behind the entries', async () => {
    const engine = await postgres.openEngine()
    const reader = followWithReader(engine)
    for (const text of ['a', 'b']) await engine.append('s', text)
    await reader.entries.waitForCount(2)
    await postgres.server.sql.unsafe(`update ${postgres.schema}.log_state set position = 1`)
    await engine.append('s', 'c').catch(() => {})
    expect((await reader.ends.waitForCount(1))[0]).to.match(/ was replaced \(its position /)
    expect(reader.texts).to.deep.equal(['a', 'b'])
  })

  it('2: positions have no gaps after PostgreSQL was stopped without a clean-up', async () => {
    const [engine, reader] = [await postgres.openEngine(), new Reader()]
    engine.follow(0, reader)
    // Two rounds in a quick run, six in a full run.
    const rounds = quickOrFull(2, 6)
    const entriesPerRound = 30
    for (let round = 0; round < rounds; round++) {
      const writing = (async () => {
        for (let i = 0; i < entriesPerRound; i++)
          await appendUntilKnown(engine, 's', `${round}:${i}`)
      })()
      // Stops PostgreSQL in the middle of the round.
      await reader.entries.waitUntil((items) => items.length >= round * entriesPerRound + 10)
      await postgres.server.end()
      await postgres.server.start()
      await writing
    }
    const total = rounds * entriesPerRound
    await reader.entries.waitForCount(total)
    const positions = reader.entries.items.map(([position]) => position)
    expect(positions).to.deep.equal(Array.from({ length: total }, (_, i) => i + 1))
    expect(new Set(reader.texts).size).to.equal(total)
  })

  it('3: an append succeeds if its entry is in the log already, and does not store the entry again', async () => {
    let losesNextAnswer = false
    const down: Filter = (bytes, connection) => {
      // The answer to an append has a UUID: the id of the entry before the appended entry.
      if (!losesNextAnswer || !/[\da-f]{8}-[\da-f]{4}-/.test(bytes.toString('latin1')))
        return connection.pass(bytes)
      losesNextAnswer = false
      connection.cut()
    }
    const { port } = await startProxy(() => ({ down }))
    const engine = postgres.newEngineThrough(port)
    await engine.open(logConfig)
    await engine.append('s', 'before')
    losesNextAnswer = true
    await expectRejection(engine.append('s', 'again'), 'UNAVAILABLE')
    expect(losesNextAnswer).to.equal(false)
    await engine.append('s', 'again')
    await engine.append('s', 'after')
    const reader = followWithReader(await postgres.openEngine())
    await reader.entries.waitForCount(3)
    expect(reader.texts).to.deep.equal(['before', 'again', 'after'])
  })

  it('3: an entry is appended only once if many sessions append it at the same time', async () => {
    const engines = await Promise.all([1, 2, 3, 4].map(() => postgres.openEngine()))
    await Promise.all(engines.map((engine) => engine.append('s', 'one')))
    await engines[0]!.append('s', 'two')
    const reader = followWithReader(engines[1]!)
    await reader.entries.waitForCount(2)
    expect(reader.texts).to.deep.equal(['one', 'two'])
  })

  it('4: there is one notification for each entry', async () => {
    const engine = await postgres.openEngine()
    let notificationCount = 0
    const listening = await postgres.server.sql.listen(postgres.schema, () => notificationCount++)
    for (let i = 0; i < 20; i++) await engine.append('s', `${i}`)
    const endChannel = `${postgres.schema}_end`
    let onEnd = () => {}
    const endNotified = new Promise<void>((resolve) => (onEnd = resolve))
    await postgres.server.sql.listen(endChannel, () => onEnd())
    // Notifications come in the order of commits, so this notification comes last.
    await postgres.server.sql.notify(endChannel, '')
    await endNotified
    await listening.unlisten()
    expect(notificationCount).to.equal(20)
  })

  it('4: a reader also reads an entry whose notification is lost', async () => {
    let droppedCount = 0
    const down: Filter = (bytes, connection) => {
      // A notification ends with the channel and an empty text.
      if (bytes.includes(Buffer.from(`${postgres.schema}\0\0`))) droppedCount++
      else connection.pass(bytes)
    }
    const { port } = await startProxy(() => ({ down }))
    const [engine, other] = [await postgres.openEngine(), postgres.newEngineThrough(port)]
    await other.open(logConfig)
    const reader = followWithReader(other)
    for (const text of ['a', 'b', 'c']) {
      await engine.append('s', text)
      await reader.entries.waitUntil(() => reader.texts.includes(text))
    }
    expect(reader.texts).to.deep.equal(['a', 'b', 'c'])
    expect(droppedCount).to.be.greaterThan(0)
  })

  it('5: no session is in a transaction between its calls, and the queue of notifications stays empty', async () => {
    const [engine, other] = [await postgres.openEngine(), await postgres.openEngine()]
    const reader = followWithReader(other)
    for (let i = 0; i < 200; i++) await engine.append('s', `${i}`)
    await reader.entries.waitForCount(200)
    const { sql } = postgres.server
    const sessions = await sql`
      select state from pg_stat_activity where application_name = 'holdfast'`
    expect(sessions.length).to.be.at.least(3)
    expect(sessions.filter(({ state }) => /in transaction/.test(state))).to.deep.equal([])
    const [queue] = await sql`select pg_notification_queue_usage() as usage`
    expect(queue!['usage']).to.equal(0)
  })

  it('6: a session that lost its LISTEN listens again', async () => {
    let isReplaced = false
    let onListen = (): void => {}
    const listenedAgain = new Promise<void>((resolve) => {
      onListen = resolve
    })
    const up: Filter = (bytes, connection) => {
      const text = bytes.toString('latin1')
      const listenStatement = `listen ${postgres.schema}`
      if (!text.includes(listenStatement)) return connection.pass(bytes)
      if (isReplaced) {
        onListen()
        return connection.pass(bytes)
      }
      isReplaced = true
      // The other statement has the same length, because the message also contains this length.
      const otherStatement = 'select 1'.padEnd(listenStatement.length)
      connection.pass(Buffer.from(text.replace(listenStatement, otherStatement), 'latin1'))
    }
    const { port } = await startProxy(() => ({ up }))
    const engine = postgres.newEngineThrough(port)
    await engine.open(logConfig)
    const reader = followWithReader(engine)
    // The answer to the next read tells the engine that the session does not listen.
    await listenedAgain
    const writer = await postgres.openEngine()
    await writer.append('s', 'one')
    await reader.entries.waitForCount(1)
  })

  it('6: a session without answers is replaced, and no entry is missed', async () => {
    const valve = new Valve()
    const listenConnections = new Set<number>()
    const { port, proxy } = await startProxy(() => ({
      up: (bytes, connection) => {
        if (bytes.includes('listen ')) listenConnections.add(connection.index)
        connection.pass(bytes)
      },
      down: (bytes, connection) => {
        if (listenConnections.has(connection.index)) valve.filter(bytes, connection)
        else connection.pass(bytes)
      },
    }))
    const [writer, engine] = [await postgres.openEngine(), postgres.newEngineThrough(port)]
    await engine.open(logConfig)
    const reader = followWithReader(engine)
    await writer.append('s', 'one')
    await reader.entries.waitForCount(1)
    valve.shut()
    const reconnected = proxy.nextConnection()
    await writer.append('s', 'two')
    await reconnected
    valve.open()
    await reader.entries.waitForCount(2)
    await writer.append('s', 'three')
    await reader.entries.waitForCount(3)
    expect(reader.texts).to.deep.equal(['one', 'two', 'three'])
  })

  it('6: a session that the server ends is replaced, and no entry is missed', async () => {
    const [writer, engine] = [await postgres.openEngine(), await postgres.openEngine()]
    const reader = followWithReader(engine)
    for (let i = 0; i < 10; i++) {
      await appendUntilKnown(writer, 's', `${i}`)
      await postgres.server.sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'holdfast'`
    }
    await reader.entries.waitForCount(10)
    expect(reader.texts).to.deep.equal(Array.from({ length: 10 }, (_, i) => `${i}`))
  })

  it('10: the log uses no replication slot', async () => {
    const engine = await postgres.openEngine()
    followWithReader(engine)
    await engine.append('s', 'a')
    const slots = await postgres.server.sql`select from pg_replication_slots`
    expect(slots).to.have.length(0)
  })

  // The self-lease is the time for which a broker knows that it is still a member of the log.
  it('11: a broker renews its self-lease several times before others declare it dead', () => {
    for (const deadMs of [1_000, 1_500, 6_000, 60_000]) {
      expect(heartbeatMsFor(deadMs) * 3).to.be.lessThan(deadMs)
    }
  })

  it('an append that is stopped in the middle leaves no row locked', async () => {
    // Resolves when the proxy has passed on all of an append but its end.
    const halfSent = new Promise<void>((resolve) => {
      void startProxy(() => ({
        up: (bytes, connection) => {
          if (!bytes.includes('execute holdfast_append')) return connection.pass(bytes)
          // Withholds the end of the statement, so that the server waits for the rest.
          connection.pass(bytes.subarray(0, bytes.length - 4))
          resolve()
        },
      })).then(async ({ port }) => {
        const firstEngine = postgres.newEngineThrough(port)
        await firstEngine.open(logConfig)
        firstEngine.append('s', 'half').catch(() => {})
      })
    })
    await halfSent
    const engine = await postgres.openEngine()
    await engine.append('s', 'whole')
    const reader = followWithReader(engine)
    await reader.entries.waitForCount(1)
    expect(reader.texts).to.deep.equal(['whole'])
  })
})
