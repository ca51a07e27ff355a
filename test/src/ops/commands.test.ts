/**
 * Runs the commands that inspect and operate a broker, against a real broker. Checks the output of
 * the commands as text and as JSON, and their exit codes. A fence is the number of a grant, which
 * identifies a lock. A set is one lock of several keys. The maxHold limits how long a lock may be
 * held. The exit code 1 means that no lock has the given fence, or that a listing is incomplete.
 * The other exit codes are 64 (wrong usage), 69 (no broker answers), 77 (not allowed) and 78
 * (invalid setting).
 */
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import { type WebSocket, WebSocketServer } from 'ws'
import { RawClient } from '../e2e/raw.js'
import { type BrokerWithSessions, Stage, untilMessagesHandled } from '../e2e/stage.js'
import { freePort } from '../support/freePort.js'
import { Holdfast } from './command.js'
import { makeScratchFolder } from './scratch.js'

describe('the command holdfast', () => {
  const stage = Stage.forEachTest()
  const run = (url: string, ...args: string[]) => Holdfast.run(stage, [...args, '--url', url])

  /**
   * Starts a broker. Ann holds `orders:1` and `report`. Bob waits for `orders:1`. The returned
   * fence is that of Ann's lock on `orders:1`.
   */
  async function busyBroker(): Promise<BrokerWithSessions & { readonly fence: number }> {
    const brokerAndSessions = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = brokerAndSessions.sessions
    const { fence } = await ann!.lock('orders:1', { metadata: { job: 7 } })
    await ann!.lock('report', { mode: 'shared' })
    bob!.lock('orders:1').catch(() => {})
    await untilMessagesHandled(bob!)
    return { ...brokerAndSessions, fence }
  }

  it('`ls` lists the holders and the queue length of each key, or of each key with a prefix', async () => {
    const { url, fence } = await busyBroker()
    const { out, code } = await run(url, 'ls')
    expect(code).to.equal(0)
    expect(out).to.have.length(3)
    expect(out[0]).to.match(/^KEY +MODE +HOLDER +HELD FOR +TIME LEFT +FENCE +WAITING$/)
    expect(out[1]).to.match(new RegExp(`^orders:1 +exclusive +ann +\\S+ +- +${fence} +1$`))
    expect(out[2]).to.match(/^report +shared +ann/)
    expect((await run(url, 'ls', 'rep')).out).to.have.length(2)
    const json = (await run(url, 'ls', '--json', 'orders:')).out.map((line) => JSON.parse(line))
    expect(json).to.have.length(1)
    expect(json[0]).to.deep.include({ key: 'orders:1', name: 'ann', fence, waiting: 1 })
  })

  it('`show` shows the holders, the queue and the fence of a key', async () => {
    const { url, fence } = await busyBroker()
    const { out } = await run(url, 'show', 'orders:1')
    expect(out[0]).to.match(new RegExp(`^held by ann for \\S+, fence ${fence}, .*{"job":7}$`))
    expect(out[1]).to.match(/^1\. bob has waited for /)
    expect((await run(url, 'show', 'other')).out).to.deep.equal(['other is free'])
    const [json] = (await run(url, 'show', '--json', 'orders:1')).out.map((line) =>
      JSON.parse(line),
    )
    expect(json.held[0]).to.include({ fence })
    expect(json.waiting[0]).to.include({ name: 'bob' })
  })

  it('`ls`, `show` and `top` show permits and sets', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    await ann!.lock('gpu', { capacity: 3 })
    await bob!.lock('gpu', { capacity: 3 })
    bob!.lock('gpu', { capacity: 3, permits: 2 }).catch(() => {})
    const set = await ann!.lockAll(['a', { key: 'b', mode: 'shared' }])
    await untilMessagesHandled(bob!)
    const { out } = await run(url, 'ls')
    expect(out[1]).to.match(new RegExp(`^a +exclusive, set of 2 +ann +\\S+ +- +${set.fence} +0$`))
    expect(out[2]).to.match(new RegExp(`^b +shared, set of 2 +ann +\\S+ +- +${set.fence} +0$`))
    expect(out[3]).to.match(/^gpu +permits 1\/3 +ann .* 1$/)
    const shown = (await run(url, 'show', 'gpu')).out
    expect(shown[0]).to.match(/^held \(permits 1\/3\) by ann for /)
    expect(shown[2]).to.equal('2 of 3 permits used')
    expect(shown[3]).to.match(/^1\. bob \(permits 2\/3\) has waited for /)
    expect((await run(url, 'show', 'a')).out[0]).to.match(/^held \(exclusive, set of 2\) by ann/)
    const top = (await run(url, 'top', '--count', '1')).out
    expect(top.find((line) => line.includes('gpu'))).to.match(/^1 +gpu +permits 2\/3 +ann, bob/)
  })

  it('`ls`, `show` and `top` show the maxHold of a lock', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    await ann!.lock('k', { maxHold: 600_000 })
    bob!.lock('k', { mode: 'shared', maxHold: 5_000 }).catch(() => {})
    await untilMessagesHandled(bob!)
    const row = /^k +exclusive, at most 10m +ann +\S+ +(9m 5\ds|10m) +\d+ +1$/
    expect((await run(url, 'ls')).out[1]).to.match(row)
    const shown = (await run(url, 'show', 'k')).out
    expect(shown[0]).to.match(/^held \(exclusive, at most 10m\) by ann for \S+, ends in /)
    expect(shown[0]).to.match(/, ends in (9m 5\ds|10m) at the latest, fence /)
    expect(shown[1]).to.match(/^1\. bob \(shared, at most 5s\) has waited for /)
    const top = (await run(url, 'top', '--count', '1')).out
    expect(top.find((line) => line.includes('ann'))).to.match(/^1 +k +exclusive, at most 10m +ann/)
  })

  it('`ls` and `show` show the ttl of a lock and the time left', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    const [ann] = sessions
    await ann!.lock('k', { ttl: 600_000 })
    await ann!.lock('l', { ttl: 900_000, maxHold: 60_000 })
    const { out } = await run(url, 'ls')
    expect(out[1]).to.match(/^k +exclusive +ann +\S+ +(9m 5\ds|10m) +\d+ +0$/)
    // The time left is that of the maxHold, which is shorter than the ttl.
    expect(out[2]).to.match(/^l +exclusive, at most 1m +ann +\S+ +(5\ds|1m) +\d+ +0$/)
    const shown = (await run(url, 'show', 'k')).out[0]
    expect(shown).to.match(/^held by ann for \S+, ttl 10m, expires in /)
    expect(shown).to.match(/, expires in (9m 5\ds|10m) unless refreshed, fence \d+, session /)
    const [json] = (await run(url, 'ls', '--json', 'l')).out.map((line) => JSON.parse(line))
    expect(json).to.include({ ttl: 900_000, maxHold: 60_000 })
    expect(json.ttlRemaining).to.be.within(1, 900_000)
    expect(json.maxHoldRemaining).to.be.within(1, 60_000)
  })

  it('`ls`, `show` and `top` show who leads, and the value of the leader', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    const leadership = await ann!.campaign('scheduler', { value: { url: 'http://a' } })
    bob!.campaign('scheduler', { value: 'next' }).catch(() => {})
    await untilMessagesHandled(bob!)
    const row = /^scheduler +election: {"url":"http:\/\/a"} +ann +\S+ +- +\d+ +1$/
    expect((await run(url, 'ls')).out[1]).to.match(row)
    const shown = (await run(url, 'show', 'scheduler')).out
    expect(shown[0]).to.match(/^led by ann with {"url":"http:\/\/a"} for \S+, fence \d+, session /)
    expect(shown[1]).to.match(/^1\. bob \(election\) has waited for /)
    const top = (await run(url, 'top', '--count', '1')).out
    expect(top.at(-1)).to.match(/^1 +scheduler +election +ann with {"url":"http:\/\/a"} +/)
    await leadership.proclaim('x'.repeat(100))
    // `ls` prints the first 40 characters of the value as JSON: the quote and 39 letters.
    expect((await run(url, 'ls')).out[1]).to.match(/election: "x{39}… +ann/)
    // A long value has more than 40 characters, however many UTF-16 units each of them has.
    await leadership.proclaim('😀'.repeat(38))
    expect((await run(url, 'ls')).out[1]).to.match(/election: "(😀){38}" +ann/u)
    await leadership.proclaim('x'.repeat(100))
    const json = JSON.parse((await run(url, 'show', '--json', 'scheduler')).out.join(''))
    expect(json.held[0]).to.include({ election: true, value: 'x'.repeat(100) })
  })

  it('`ls` counts a long queue, and `show` counts the waiting requests that `show` does not list', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    await sessions[0]!.lock('k')
    const waitingClient = await RawClient.open(url)
    stage.onCleanUp(() => waitingClient.drop())
    waitingClient.send(
      ...Array.from({ length: 1_003 }, (_, i) => ({ type: 'lock', id: i + 1, key: 'k' })),
    )
    // The answer to `stats` shows that the broker has handled all earlier requests.
    waitingClient.send({ type: 'stats', id: 2_000 })
    await waitingClient.receive('stats')
    expect((await run(url, 'ls')).out.at(-1)).to.match(/^k .* 1003$/)
    // By default, `show` lists at most 1,000 waiting requests of the 1,003, and also the holder.
    const shown = await run(url, 'show', 'k')
    expect(shown.out.at(-1)).to.equal('... and 3 more wait')
    const startOfMessage = 'holdfast: Only 1001 of 1004'
    expect([shown.code, shown.err[0]?.slice(0, startOfMessage.length)]).to.deep.equal([
      1,
      startOfMessage,
    ])
    // With an explicit limit, an incomplete listing is no failure.
    expect((await run(url, 'show', 'k', '--limit', '1000')).code).to.equal(0)
  })

  it('escapes control characters in names and keys', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann\u001b[2J')
    await sessions[0]!.lock('k\u202e')
    const [, line] = (await run(url, 'ls')).out
    expect(line).to.match(/^k\\u\{202e\} +exclusive +ann\\u\{1b\}\[2J/)
  })

  it('`unlock` revokes the lock that has the fence, and the next waiter gets the lock', async () => {
    const { url, broker, fence } = await busyBroker()
    const args = ['unlock', 'orders:1', '--fence', String(fence), '--reason', 'stuck']
    const { code, out } = await run(url, ...args)
    expect([code, out]).to.deep.equal([0, [`orders:1: the lock with fence ${fence} is revoked`]])
    expect(broker.query({ key: 'orders:1' }).held[0]).to.include({ name: 'bob' })
    const repeatedRun = await run(url, ...args)
    expect(repeatedRun.code).to.equal(1)
    expect(repeatedRun.err[0]).to.match(
      /^holdfast: orders:1 is not held with this fence: it is held with/,
    )
  })

  it('`unlock` requires a fence and a reason', async () => {
    const { url, broker } = await busyBroker()
    for (const args of [
      ['--reason', 'stuck'],
      ['--fence', '1'],
    ]) {
      const { code, err } = await run(url, 'unlock', 'orders:1', ...args)
      expect(code).to.equal(64)
      expect(err[0]).to.match(/required option/)
    }
    expect(broker.query().heldCount).to.equal(2)
  })

  it('exits 77 without a token, and names the ways to give the token', async () => {
    // A cell is a broker that serves a part of the keys. `--cells` takes only URLs of cells.
    const { url } = await stage.startBroker({ authenticate: ({ token }) => token, cell: '1/1' })
    const missing =
      'holdfast: The broker requires a token, and none was sent: set HOLDFAST_TOKEN or --token-file FILE'
    for (const flags of [
      ['--url', url],
      ['--cells', url],
    ]) {
      const { code, err } = await Holdfast.run(stage, ['ls', ...flags])
      expect([code, ...err]).to.deep.equal([77, missing])
    }
  })

  it('exits 77 if the broker does not know the token, and names the source of the token', async () => {
    const { url } = await stage.startBroker({ authenticate: () => undefined })
    const file = makeScratchFolder(stage).write('token', 'wrong')
    chmodSync(file, 0o600)
    const message = (source: string) =>
      `holdfast: The broker did not accept the token in ${source} ` +
      '(unauthorized: the token was not accepted): put a token there that the broker knows'
    const env = { HOLDFAST_TOKEN: 'wrong' }
    const fromVariable = await Holdfast.run(stage, ['ls', '--url', url], { env })
    expect([fromVariable.code, fromVariable.err]).to.deep.equal([77, [message('HOLDFAST_TOKEN')]])
    const fromFile = await Holdfast.run(stage, ['ls', '--url', url, '--token-file', file])
    expect([fromFile.code, fromFile.err]).to.deep.equal([77, [message(`the file ${file}`)]])
  })

  it('takes several URLs, separated by commas, and tries one after another', async () => {
    const { url } = await stage.startBroker()
    const list = `ws://127.0.0.1:${await freePort()}, ${url}`
    for (const name of ['ls', 'stats']) {
      const { code, err } = await Holdfast.run(stage, [name, '--url', list])
      expect([code, err], name).to.deep.equal([0, []])
    }
    const withEmptyUrls = await Holdfast.run(stage, ['ls', '--url', ','])
    expect(withEmptyUrls.code).to.equal(78)
  })

  it('exits 77 if the broker does not permit the request', async () => {
    const { url } = await stage.startBroker({ authorize: () => false })
    for (const args of [
      ['stats'],
      ['show', 'k'],
      ['unlock', 'k', '--fence', '1', '--reason', 'r'],
      ['run', 'k', '--', 'true'],
    ]) {
      const { code, err } = await Holdfast.run(stage, [args[0]!, '--url', url, ...args.slice(1)])
      expect(code, args[0]).to.equal(77)
      expect(err[0], args[0]).to.match(/^holdfast: you may not /)
    }
  })

  it('`watch` prints the held locks and then the events, until a signal', async () => {
    const { url, sessions } = await busyBroker()
    const watch = Holdfast.start(stage, ['watch', '--json', 'orders:', '--url', url])
    await watch.out.waitForCount(1)
    await sessions[0]!.lock('orders:2')
    await sessions[0]!.lock('elsewhere')
    // The close ends the locks on `orders:1` and `orders:2`. Then Bob gets `orders:1`.
    await sessions[0]!.close()
    await watch.out.waitForCount(5)
    watch.process.kill('SIGINT')
    const { code, out } = await watch.ended()
    expect(code).to.equal(0)
    const events = out.map((line) => JSON.parse(line) as { event: string; key?: string })
    expect(events.map(({ event, key }) => `${event} ${key}`)).to.deep.equal([
      'state undefined',
      'locked orders:2',
      'lost orders:1',
      'lost orders:2',
      'locked orders:1',
    ])
  })

  it('`unlock` exits 1 if no lock has the fence, even without the permission to query', async () => {
    const { url } = await stage.startBroker({ authorize: (_, operation) => operation === 'revoke' })
    const { code, err } = await run(url, 'unlock', 'k', '--fence', '5', '--reason', 'stuck')
    expect([code, ...err]).to.deep.equal([1, 'holdfast: k is not held with this fence'])
  })

  it('`watch` prints only the events that the client has permission to see', async () => {
    const { url } = await stage.startBroker({
      authorize: (_, operation, key) => operation !== 'watch' || !key.startsWith('secret'),
    })
    const session = await stage.openSession(url)
    for (const key of ['secret:1', 'open:1']) await session.lock(key)
    const watch = Holdfast.start(stage, ['watch', '--url', url])
    await watch.out.waitForCount(2)
    for (const key of ['secret:2', 'open:2']) await session.lock(key)
    await watch.out.waitForCount(3)
    watch.process.kill('SIGINT')
    const { code, out } = await watch.ended()
    expect(code).to.equal(0)
    // After the time, the first line has the count of held locks, the second a held lock, and the
    // third an event.
    const lines = out.map((line) => line.split(' ').slice(1, 3).join(' '))
    expect(lines).to.deep.equal(['1 held', 'held open:1', 'locked open:2'])
  })

  it('`top` shows the busiest key first, and prints as many reports as --count says', async () => {
    const { url } = await busyBroker()
    const { code, out } = await run(url, 'top', '--count', '1')
    expect(code).to.equal(0)
    expect(out[0]).to.match(/^2 held, 1 waiting/)
    // The first key follows the counts, an empty line, and the names of the columns.
    expect(out[3]).to.match(/^1 +orders:1 +exclusive +ann/)
    const reports = (await run(url, 'top', '--json', '--count', '2', '--interval', '100ms')).out
    const [first, second] = reports.map((line) => JSON.parse(line))
    expect(first.keys[0]).to.include({ key: 'orders:1', waiting: 1 })
    expect(second.rates).to.include({ granted: 0 })
  })

  it('`top` exits 0 at Ctrl-C, even while the broker does not answer', async () => {
    // The server answers the hello of the client, but not the query that follows.
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    stage.onCleanUp(() => server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const top = Holdfast.start(stage, ['top', '--url', `ws://127.0.0.1:${port}`])
    const [socket] = (await once(server, 'connection')) as [WebSocket]
    const welcome = {
      type: 'welcome',
      session: 's',
      resumed: false,
      lease: 15_000,
      grace: 0,
      at: 1,
    }
    // The first message is the `hello`, the second is the query, and the third is the `bye`.
    await once(socket, 'message')
    socket.send(JSON.stringify(welcome))
    await once(socket, 'message')
    socket.once('message', () => socket.close(1000))
    top.process.kill('SIGINT')
    expect((await top.ended()).code).to.equal(0)
  })

  it('`stats` prints the counters of the broker', async () => {
    const { url, broker } = await busyBroker()
    const { out } = await run(url, 'stats', '--json')
    expect(JSON.parse(out[0]!)).to.deep.equal(broker.stats())
    expect((await run(url, 'stats')).out.join('\n')).to.match(/totalLocks +2/)
  })

  it('`ping` prints the time of each handshake, and exits 69 if no broker answers', async () => {
    const { url, broker } = await stage.startBroker()
    const { code, out } = await run(url, 'ping', '--count', '2')
    expect(code).to.equal(0)
    expect(out).to.have.length(3)
    expect(out[2]).to.match(/^min [\d.]+, mean [\d.]+, max [\d.]+ ms$/)
    await broker.close()
    const withoutBroker = await run(url, 'ping')
    expect(withoutBroker.code).to.equal(69)
    expect(withoutBroker.err).to.have.length(1)
    expect(withoutBroker.err[0]).to.match(/^holdfast: No Holdfast broker answered/)
  })

  it('`ping` tries every URL of a list, and exits 0 if at least one broker answers', async () => {
    const [a, b] = [await stage.startBroker(), await stage.startBroker()]
    const urls = `${a.url},ws://127.0.0.1:${await freePort()},${b.url}`
    const { code, out, err } = await run(urls, 'ping', '--count', '1', '--json')
    expect(out.map((line) => JSON.parse(line).url)).to.deep.equal([a.url, b.url])
    expect([code, err.length]).to.deep.equal([0, 1])
  })

  it('`bench` prints the figures of a load, and leaves no locks behind', async () => {
    const { url, broker } = await stage.startBroker()
    for (const flags of [[], ['--contended']]) {
      const args = ['bench', '--json', '--sessions', '3', '--time', '200ms', ...flags, url]
      const { code, out } = await Holdfast.run(stage, args)
      expect(code).to.equal(0)
      const result = JSON.parse(out[0]!)
      // A cycle acquires and releases a lock. There were more cycles than sessions.
      expect(result.cycles).to.be.above(3)
      expect(result.lock.p50).to.be.at.most(result.lock.p99)
      expect(result.lock.p99).to.be.at.most(result.lock.max)
      expect(result).to.include({ sessions: 3, contended: flags.length > 0 })
      // Each figure has at most two decimals.
      for (const figure of [result.ms, result.perSecond, ...Object.values(result.lock)]) {
        expect(String(figure)).to.match(/^\d+(\.\d\d?)?$/)
      }
    }
    expect(broker.query()).to.include({ heldCount: 0, waitingCount: 0 })
    const { out } = await Holdfast.run(stage, ['bench', '--sessions', '1', '--time', '50ms', url])
    expect(out[1]).to.match(/^ms +p50 +p95 +p99 +p99\.9 +max$/)
  })

  it('`bench` exits 69 if the broker refuses some of its sessions', async () => {
    const { url } = await stage.startBroker({ limits: { sessionsPerAddress: 2 } })
    const { code, err } = await Holdfast.run(stage, ['bench', '--sessions', '3', url])
    expect(code).to.equal(69)
    expect(err).to.have.length(1)
  })

  it('prints examples and exit codes in the help of each command', async () => {
    const { out: overview } = await Holdfast.run(stage, ['--help'])
    const commands = overview.flatMap((line) => /^ {2}(?!help)([a-z]+) [<[]/.exec(line)?.[1] ?? [])
    expect(commands).to.include.members(['run', 'elect', 'ls', 'serve', 'completion'])
    // These commands print no results, so they have no flag for the format.
    const withoutResults = ['serve', 'run', 'elect', 'once', 'completion']
    for (const command of commands) {
      const { code, out } = await Holdfast.run(stage, [command, '--help'])
      const text = out.join('\n')
      expect(code, command).to.equal(0)
      expect(text).to.include('Examples:').and.to.include(`holdfast ${command}`)
      expect(text).to.include('Exit codes: 0 success')
      const hasJson = text.includes('--json')
      expect(hasJson, `${command} has --json`).to.equal(!withoutResults.includes(command))
    }
  })

  it('suggests the right name for a mistyped flag or command', async () => {
    const withWrongFlag = await Holdfast.run(stage, ['ls', '--jsn'])
    expect(withWrongFlag.code).to.equal(64)
    expect(withWrongFlag.err.join(' ')).to.include('Did you mean --json?')
    const wrongCommand = await Holdfast.run(stage, ['unlok'])
    expect(wrongCommand.code).to.equal(64)
    expect(wrongCommand.err.join(' ')).to.include('unlock')
  })
})
