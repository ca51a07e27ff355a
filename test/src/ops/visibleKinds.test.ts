/**
 * Tests what the command `holdfast` shows of a real broker besides ordinary locks: barriers, kept
 * results of `once`, sets, scopes, upgrades, deadlocks and queues. A barrier lets its parties pass
 * when all have arrived. A set is one request for several keys. A scope is one logical task of a
 * session. A fence is the number of a grant.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import { WebSocketServer } from 'ws'
import { expectRejection, Stage, untilMessagesHandled } from '../e2e/stage.js'
import { zeroStats } from '../protocol/brokerMessages.js'
import { Holdfast } from './command.js'

describe('the command holdfast with barriers, sets and other kinds of locks', () => {
  const stage = Stage.forEachTest()
  const run = (url: string, ...args: string[]) => Holdfast.run(stage, [...args, '--url', url])

  /** Starts a server that answers like a broker that does not know the field `kind`. */
  async function olderBroker(): Promise<string> {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    stage.onCleanUp(() => server.close())
    await once(server, 'listening')
    server.on('connection', (socket) => {
      const send = (message: object) => socket.send(JSON.stringify(message))
      socket.on('message', (data) => {
        // A frame is one message or a list of messages.
        for (const message of [JSON.parse(String(data))].flat()) {
          const { type, id, kind } = message
          if (type === 'hello')
            send({ type: 'welcome', session: 's', resumed: false, lease: 9_000, grace: 0, at: 1 })
          else if (type === 'bye') socket.close(1000)
          else if (kind !== undefined)
            send({ type: 'failed', id, code: 'BAD_MESSAGE', message: 'unknown field kind' })
          else if (type === 'query') {
            const counts = { heldCount: 0, waitingCount: 0 }
            send({ type: 'found', id, held: [], waiting: [], ...counts, more: false })
          } else if (type === 'stats') send({ type: 'stats', id, stats: zeroStats })
        }
      })
    })
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  it('shows barriers and kept results with ls, show, top and stats', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    // Without locks, `ls` prints only the names of the columns.
    expect((await run(url, 'ls')).out).to.have.length(1)
    for (const session of [ann, bob]) {
      session!.barrier('phase', { parties: 3 }).catch(() => {})
      await untilMessagesHandled(session!)
    }
    await ann!.once('report', () => 'x', { keep: 600_000 })
    const { out } = await run(url, 'ls')
    // Empty lines separate the tables of locks, barriers and kept results.
    expect([out[1], out[4]]).to.deep.equal(['', ''])
    expect(out[2]).to.match(/^BARRIER +WAITING +FIRST FOR +SESSIONS$/)
    expect(out[3]).to.match(/^phase +2 of 3 +\S+ +ann, bob$/)
    expect(out[5]).to.match(/^KEPT RESULT +SIZE +AGE +TIME LEFT +FENCE$/)
    // The size counts the characters of the value as JSON, `"x"`.
    expect(out[6]).to.match(/^report +3 +\S+ +(9m \d+s|9m|10m) +\d+$/)
    const json = async (...args: string[]) =>
      (await run(url, ...args, '--json')).out.map((line) => JSON.parse(line))
    expect(await json('ls')).to.deep.equal([])
    const barrierCalls = await json('ls', '--kind', 'barriers', 'ph')
    expect(barrierCalls.map(({ name, waiting }) => [name, waiting])).to.deep.equal([
      ['ann', 2],
      ['bob', 2],
    ])
    expect((await json('ls', '--kind', 'results'))[0]).to.include({ key: 'report', size: 3 })
    // The names of the columns, and one barrier.
    expect((await run(url, 'ls', '--kind', 'barriers')).out).to.have.length(2)
    const phase = (await run(url, 'show', 'phase')).out
    expect(phase.slice(0, 2)).to.deep.equal(['phase is free', 'barrier: 2 of 3 parties wait'])
    expect(phase[3]).to.match(/^2\. bob has waited for \S+, session /)
    expect((await run(url, 'show', 'report')).out[1]).to.match(
      /^kept result: 3 characters of JSON, from \S+ ago, (9m \d+s|9m|10m) left, fence \d+$/,
    )
    expect((await json('show', 'phase'))[0]).to.deep.include({ arrivedCount: 2, kept: [] })
    const top = (await run(url, 'top', '--count', '1')).out
    expect(top[1]).to.equal('calls at barriers: 2; kept results: 1')
    expect(top.at(-1)).to.match(/^2 +phase +barrier 2 of 3 +ann, bob +-$/)
    expect((await run(url, 'stats')).out.join('\n')).to.match(/barrierCalls +2/)
  })

  it('lists no barriers, kept results or deadlocks if the broker does not know such queries', async () => {
    const { code, out } = await run(await olderBroker(), 'ls')
    // The one line has the names of the columns.
    expect([code, out.length]).to.deep.equal([0, 1])
  })

  it('reports that a broker is too old for `holdfast session`', async () => {
    const { code, err } = await run(await olderBroker(), 'session', 's')
    expect(code).to.equal(1)
    expect(err.join('\n')).to.include('is of an earlier version and cannot show a session')
  })

  it('shows the keys of a set, the scope of a lock, and the mode after upgrades', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    await ann!.lockAll(['a', 'b'])
    expect((await run(url, 'show', 'a')).out[1]).to.equal('keys of the set: a, b')
    const lock = await ann!.lock('k', { mode: 'shared' })
    const lockOfBob = await bob!.lock('k', { mode: 'shared' })
    const upgraded = lock.upgrade()
    await untilMessagesHandled(ann!)
    const shown = (await run(url, 'show', 'k')).out
    expect(shown[2]).to.match(/^before the queue: ann \(upgrade\) has waited for /)
    // The last column is the number of waiting requests.
    expect((await run(url, 'ls', 'k')).out[1]).to.match(/^k +shared +ann .* 1$/)
    await lockOfBob.unlock()
    await upgraded
    const exclusive = new RegExp(`^k +exclusive +ann +\\S+ +- +${lock.fence} +0$`)
    expect((await run(url, 'ls', 'k')).out[1]).to.match(exclusive)
    await lock.downgrade()
    expect((await run(url, 'show', 'k')).out[0]).to.match(/^held \(shared\) by ann /)
    await bob!.scope(async (scope) => {
      await scope.lock('s')
      expect((await run(url, 'ls', 's')).out[1]).to.match(/^s +exclusive, scope \d+ +bob /)
      expect((await run(url, 'show', 's')).out[0]).to.match(/^held \(exclusive, scope \d+\) by bob/)
    })
  })

  it('shows the refused deadlocks with ls, show, top and stats, the newest first', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    const makeDeadlock = async (key: string): Promise<void> => {
      const locks = await Promise.all(
        [ann, bob].map((session) => session!.lock(key, { mode: 'shared' })),
      )
      locks[0]!.upgrade().catch(() => {})
      await untilMessagesHandled(ann!)
      await expectRejection(locks[1]!.upgrade(), 'DEADLOCK')
    }
    await makeDeadlock('k')
    const stats = (await run(url, 'stats')).out.join('\n')
    expect(stats).to.match(/refusedDeadlocks +1/)
    expect(stats).to.match(/newestDeadlock +\S+ ago: bob waits for k, ann waits for k/)
    const top = (await run(url, 'top', '--count', '1')).out
    expect(top[1]).to.match(/^refused deadlocks: 1, the newest \S+ ago$/)
    await makeDeadlock('orders:1')
    expect((await run(url, 'stats')).out.at(-1)).to.match(
      /^olderDeadlock +\S+ ago: bob waits for k/,
    )
    const rows = (await run(url, 'ls', '--kind', 'deadlocks')).out
    expect(rows[0]).to.match(/^DEADLOCK REFUSED +CYCLE$/)
    expect(rows[1]).to.match(/^\S+ ago +bob waits for orders:1, ann waits for orders:1$/)
    expect(rows[2]).to.match(/^\S+ ago +bob waits for k, ann waits for k$/)
    expect((await run(url, 'ls')).out.join('\n')).to.include(rows[0])
    // The names of the columns, and one deadlock.
    expect((await run(url, 'ls', 'orders:', '--kind', 'deadlocks')).out).to.have.length(2)
    const json = (await run(url, 'ls', '--kind', 'deadlocks', '--json')).out
    const keys = json.map((line) => JSON.parse(line).cycle[0].key)
    expect(keys).to.deep.equal(['orders:1', 'k'])
    const shown = (await run(url, 'show', 'k')).out
    expect(shown.at(-1)).to.match(/^refused deadlock, \S+ ago: bob waits for k, ann waits for k$/)
    const shownJson = JSON.parse((await run(url, 'show', 'k', '--json')).out[0]!)
    expect(shownJson.deadlocks).to.have.length(1)
  })

  it('prints with watch --queue which requests wait, and why they cease to wait', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    await ann!.lock('orders:1')
    bob!.lock('orders:1').catch(() => {})
    await untilMessagesHandled(bob!)
    const watch = Holdfast.start(stage, ['watch', '--queue', 'orders:', '--url', url])
    await watch.out.waitForCount(3)
    await expectRejection(bob!.lock('orders:1', { timeout: 1, mode: 'shared' }), 'LOCK_TIMEOUT')
    const controller = new AbortController()
    const abortedRequest = bob!.lock('orders:1', { signal: controller.signal })
    await untilMessagesHandled(bob!)
    controller.abort()
    await expectRejection(abortedRequest, 'ABORTED')
    // Let the broker handle the cancel of the request before the lock is released.
    await untilMessagesHandled(bob!)
    await ann!.close()
    await watch.out.waitForCount(10)
    watch.process.kill('SIGINT')
    const { code, out } = await watch.ended()
    expect(code).to.equal(0)
    // Removes the time at the beginning of each line, and the fence and all that follows it.
    const lines = out.map((line) =>
      line
        .split(' ')
        .slice(1)
        .join(' ')
        .replace(/ fence.*/, ''),
    )
    // The lock of ann is `lost`, because its session ended without an unlock.
    expect(lines).to.deep.equal([
      '1 held, 1 waiting',
      'held orders:1 exclusive ann',
      'waiting orders:1 exclusive bob',
      'queued orders:1 shared bob',
      'dequeued orders:1 shared bob: timeout',
      'queued orders:1 exclusive bob',
      'dequeued orders:1 exclusive bob: aborted',
      'lost orders:1 exclusive ann',
      'dequeued orders:1 exclusive bob: granted',
      'locked orders:1 exclusive bob',
    ])
  })
})
