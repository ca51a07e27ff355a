/**
 * Tests the commands against a broken or a hostile broker: a broker that never answers, never ends
 * its answer, sends too much, or sends an error that Holdfast's broker never sends. Each command
 * ends by itself, with one message and the right exit code. The exit codes are 64 (wrong usage), 69
 * (no valid answer), 77 (not allowed) and 78 (any other error). test/src/client/badBroker.test.ts
 * tests the client. terminal.test.ts tests that no character of a broker controls the terminal.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { zeroStats } from '../protocol/brokerMessages.js'
import { Holdfast } from './command.js'
import { type Answer, answering, startFakeBroker, welcome } from './fakeBroker.js'
import { runInProcess } from './inProcess.js'

/** How long a command waits for an answer, in ms. */
const answerLimitMs = 30_000
/** A `welcome` for a session that survives the loss of its connection. */
const welcomeWithGrace = { ...welcome, grace: 15_000, secret: 'secret' }
const noAnswer = 'holdfast: The broker did not answer within 30 s: try again later'

describe('a command against a bad broker', () => {
  const stage = Stage.forEachTest()
  const startFake = (answer: Answer) => startFakeBroker(stage, answer)

  /**
   * Runs a command in this process. Timers of at least `answerLimitMs` fire at once, so that the
   * test need not wait.
   */
  async function runWithoutWait(url: string, [command, ...args]: readonly string[]) {
    const { setTimeout: realSetTimeout } = globalThis
    const restore = () => {
      globalThis.setTimeout = realSetTimeout
    }
    stage.onCleanUp(restore)
    globalThis.setTimeout = ((callback: () => void, ms?: number, ...others: []) =>
      realSetTimeout(callback, (ms ?? 0) >= answerLimitMs ? 0 : ms, ...others)) as typeof setTimeout
    try {
      return await runInProcess(stage, [command!, '--url', url, ...args], process.env)
    } finally {
      restore()
    }
  }

  const readingCommands = [
    ['ls'],
    ['ls', '--all'],
    ['show', 'k'],
    ['session', 's'],
    ['stats'],
    ['top', '--count', '1'],
    ['top', '--count', '1', '--all'],
  ]

  it('exits 69 if the broker answers heartbeats but no request', async () => {
    // By default, `answering` acknowledges each heartbeat and answers no request.
    const url = await startFake(answering())
    for (const args of [...readingCommands, ['bench', '--sessions', '1', '--time', '1ms']]) {
      const { code, err } = await runWithoutWait(url, args)
      expect([code, ...err], args.join(' ')).to.deep.equal([69, noAnswer])
    }
    const unlock = ['unlock', 'k', '--fence', '1', '--reason', 'r']
    const { code, err } = await runWithoutWait(url, unlock)
    const doubt = 'the lock may be revoked all the same: check with holdfast show k'
    expect([code, ...err]).to.deep.equal([69, `${noAnswer}; ${doubt}`])
  })

  it('exits 69 if the answer of the broker never ends', async () => {
    // With `more: true`, the broker announces another part of the answer, and never sends it.
    const part = { held: [], waiting: [], heldCount: 1, waitingCount: 0, more: true }
    const url = await startFake(
      answering(({ id }, { send }) => send({ type: 'found', id, ...part })),
    )
    // `part` is a valid answer to the first three commands only.
    for (const args of readingCommands.slice(0, 3)) {
      const { code, err } = await runWithoutWait(url, args)
      expect([code, ...err], args.join(' ')).to.deep.equal([69, noAnswer])
    }
  })

  it('exits 69 if the broker does not confirm the output of the command that `holdfast once` has run', async () => {
    const url = await startFake(
      answering(({ type, id }, { send }) => {
        if (type === 'once') send({ type: 'granted', id, fence: 1 })
      }),
    )
    const { code, out, err } = await runWithoutWait(url, ['once', 'k', '--', 'echo', 'done'])
    expect([code, out, err]).to.deep.equal([69, ['done'], [noAnswer]])
  })

  it('exits 69 even without --timeout if the broker answers each request with a message that is too long', async () => {
    const tooLong = 'x'.repeat(2 ** 20 + 1)
    const url = await startFake(
      answering((_, { socket }) => socket.send(tooLong), welcomeWithGrace),
    )
    const commands = [
      ['run', '--url', url, 'k', '--', 'echo', 'never'],
      ['hold', '--url', url, '-q', 'k'],
      ['once', '--url', url, 'k', '--', 'echo', 'never'],
    ]
    const runs = commands.map((args) => Holdfast.start(stage, args).ended())
    for (const { code, out, err } of await Promise.all(runs)) {
      expect([code, out]).to.deep.equal([69, []])
      // A client gives up after three faulty connections.
      expect(err.at(-1)).to.match(/dropped \(.*\), as did the 2 connections before$/)
    }
  })

  it('exits 69 if the broker closes the connection with 4400 (bad message)', async () => {
    const url = await startFake(answering((_, { socket }) => socket.close(4400, 'bad message')))
    for (const args of [['ls'], ['stats'], ['once', 'k', '--', 'echo', 'never']]) {
      const [command, ...others] = args
      const { code } = await Holdfast.run(stage, [command!, '--url', url, ...others])
      expect(code, args.join(' ')).to.equal(69)
    }
  })

  it('exits 69 with --try if the broker answers the handshake but not the request', async () => {
    const url = await startFake(answering(undefined, welcomeWithGrace))
    const commands = [
      ['run', '--url', url, '--try', 'k', '--', 'echo', 'never'],
      ['elect', '--url', url, '--try', 'k', '--', 'echo', 'never'],
      ['hold', '--url', url, '--try', '-q', 'k'],
    ]
    const runs = commands.map((args) => Holdfast.start(stage, args).ended())
    for (const { code, out, err } of await Promise.all(runs)) {
      expect([code, out]).to.deep.equal([69, []])
      expect(err.at(-1)).to.equal(`holdfast: No broker answered within 2s (with --try) at ${url}`)
    }
  })

  it('ends a listing whose pages are all empty, or all equal', async () => {
    const lock = { key: 'k', mode: 'exclusive', session: 's', fence: 1, since: 1 }
    for (const held of [[], [lock]]) {
      const url = await startFake(
        answering(({ type, id, kind }, { send }) => {
          // `heldCount` says that further pages follow. `more` would only announce another part of
          // this page.
          const page = { held, waiting: [], heldCount: 5, waitingCount: 0, more: false }
          const session = { session: 's', lease: 9_000, grace: 0, connected: true }
          if (type === 'stats') send({ type, id, stats: zeroStats })
          else if (kind === 'sessions') send({ ...page, type: 'found', id, sessions: [session] })
          else send({ type: 'found', id, ...page })
        }),
      )
      const reason =
        held.length === 0
          ? 'it has sent 100 empty pages, and says that more follow'
          : 'it sent the same page again'
      for (const args of [
        ['ls', '--all'],
        ['session', 's'],
        ['top', '--count', '1', '--all'],
      ]) {
        const { code, err } = await Holdfast.run(stage, [...args, '--url', url])
        expect([code, ...err], args.join(' ')).to.deep.equal([
          69,
          `holdfast: The broker does not list its locks to their end: ${reason}: update the broker`,
        ])
      }
    }
  })

  it('ends a listing that always has a further page', async () => {
    const listing = new URL('./cli/listing.js', import.meta.resolve('@holdfast/server'))
    const { pagesOf } = (await import(listing.href)) as {
      pagesOf: (session: object, prefix: string) => AsyncGenerator
    }
    let pageCount = 0
    // Each page has one lock, whose key is greater than the key before.
    const query = async () => {
      const key = String(pageCount++).padStart(9, '0')
      return { held: [{ key, fence: 1 }], waiting: [], heldCount: 2 ** 40, waitingCount: 0 }
    }
    const readAll = async () => {
      for await (const _ of pagesOf({ query }, ''));
    }
    const { message } = await readAll().catch((error) => error)
    expect(message).to.equal(
      'The broker does not list its locks to their end: it has sent 100000 pages: update the broker',
    )
  })

  it('cuts an error message that is too long to read', async () => {
    const message = 'x'.repeat(100_000)
    const url = await startFake(
      answering(({ id }, { send }) => send({ type: 'failed', id, code: 'FORBIDDEN', message })),
    )
    const { code, err } = await Holdfast.run(stage, ['stats', '--url', url])
    expect([code, ...err]).to.deep.equal([77, `holdfast: ${message.slice(0, 2_000)}…`])
  })

  it('prints the error of a broker that aborts a request which the command did not cancel', async () => {
    const aborted = { type: 'failed', code: 'ABORTED', message: 'aborted by the broker' }
    const url = await startFake(
      answering(({ id }, { send }) => send({ ...aborted, id }), welcomeWithGrace),
    )
    const ended = await Holdfast.start(stage, ['run', '--url', url, 'k', '--', 'true']).ended()
    expect(ended).to.deep.include({ code: 78, err: ['holdfast: aborted by the broker'] })
  })

  it('exits 69 if the broker ends the session while the command needs further answers', async () => {
    // After the locks, `ls` also asks for refused deadlocks, barriers and kept results.
    const url = await startFake(
      answering(({ type, id }, { send, socket }) => {
        if (type !== 'query') return
        const page = { held: [], waiting: [], heldCount: 0, waitingCount: 0, more: false }
        send({ type: 'found', id, ...page })
        socket.close(4409, 'session attached elsewhere')
      }),
    )
    const { code, err } = await Holdfast.run(stage, ['ls', '--url', url])
    expect(code).to.equal(69)
    expect(err.join('\n')).to.match(/^holdfast: The broker ended the session; connect again/)
  })

  it('refuses a lease that would end before a command can be stopped, and names the lease', async () => {
    const url = await startFake(answering(undefined, { ...welcome, lease: 500 }))
    const ended = await Holdfast.start(stage, ['run', '--url', url, 'k', '--', 'true']).ended()
    expect(ended).to.deep.include({
      code: 64,
      err: [
        'holdfast: The broker gave a lease of 500 ms and a grace of 0 ms, which are too short to ' +
          'stop a command in time: give a longer --lease, or let the operator of the broker ' +
          'raise the limits of leases',
      ],
    })
  })

  it('reads only a limited part of an HTTP answer that never ends', async () => {
    const server = createServer((_, response) => {
      const send = (): void => {
        while (!response.destroyed && response.write('x'.repeat(100_000)));
      }
      response.on('drain', send)
      send()
    })
    stage.onCleanUp(() => server.closeAllConnections())
    stage.onCleanUp(() => server.close())
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    for (const command of ['status', 'rebalance']) {
      const { code, out, err } = await Holdfast.start(stage, [command, '--url', url]).ended()
      expect([code, out, ...err], command).to.deep.equal([
        69,
        [],
        `holdfast: The broker at ${url} sent more than 1048576 characters, which no Holdfast ` +
          'broker does: check the URL',
      ])
    }
  })
})
