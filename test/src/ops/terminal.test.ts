/**
 * Tests that a command escapes all text of a broker or of other clients before it prints the text
 * to a terminal. The tests fill every field that a command prints with characters that move the
 * cursor, hide text or end lines. A fence is the number of a grant.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { isFullRun } from '../support/counts.js'
import { holdfastFile } from '../support/programs.js'
import { type ReceivedMessage, startFakeBroker, welcome } from './fakeBroker.js'

/** All characters with a code from `first` to `last`. */
const range = (first: number, last: number): string =>
  Array.from({ length: last - first + 1 }, (_, i) => String.fromCodePoint(first + i)).join('')

/**
 * Control characters (C0, DEL, C1), bidi marks, line separators and invisible characters; and
 * sequences that control a terminal.
 */
const hostile = [
  range(0x00, 0x1f) + range(0x7f, 0x9f),
  '\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff',
  '\u2028\u2029\u{e0041}',
  '\u001b[2J\u001b]0;title\u0007\u009b31m\r\nholdfast: all is well',
].join('x')

/** The hostile characters that a key may have: all but the control characters. */
const hostileKey = [...hostile].filter((char) => !/[\p{Cc}\p{Cs}]/u.test(char)).join('')

/** Characters that no printed line may have. The lines are checked without their line feeds. */
const invisible = /[\p{C}\p{Zl}\p{Zp}]/u

interface Output {
  readonly out: string
  readonly err: string
}

describe('holdfast on a terminal', () => {
  const stage = Stage.forEachTest()

  /**
   * Runs a command, and returns its whole output without changes. The command ends by itself, or by
   * SIGINT when `isEnough` returns true for its output.
   */
  async function outputOf(
    args: readonly string[],
    isEnough?: (out: string) => boolean,
  ): Promise<Output> {
    const child = spawn(process.execPath, [holdfastFile, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    stage.onCleanUp(() => child.kill('SIGKILL'))
    let [out, err] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
      if (isEnough?.(out)) child.kill('SIGINT')
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
    })
    await once(child, 'close')
    return { out, err }
  }

  /** Checks that the output has no invisible character except the line feed. */
  function expectVisible({ out, err }: Output, label: string): void {
    for (const line of [...out.split('\n'), ...err.split('\n')]) {
      const found = invisible.exec(line)?.[0].codePointAt(0)?.toString(16)
      expect(found, `${label}: ${line}`).to.equal(undefined)
    }
  }

  it('escapes the text of clients, and keeps the values in JSON', async () => {
    // A name and a reason may have 256 characters.
    const name = hostile.slice(0, 256)
    const { url } = await stage.startBroker()
    const key = `k${hostileKey}`
    const metadata = { [hostile]: hostile }
    const [ann, bob] = [
      await stage.openSession(url, { name }),
      await stage.openSession(url, { name }),
    ]
    const { fence } = await ann.lock(key, { metadata })
    bob.lock(key).catch(() => {})
    // After this answer, the request of bob waits at the broker.
    await bob.stats()
    const urlFlag = ['--url', url]
    const commands = [['ls'], ['show', key], ['top', '--count', '1'], ['watch']]
    const runs = asTextAndJson(commands)
    await Promise.all(
      runs.map(async (args) => {
        const isEnough = (out: string) => args[0] === 'watch' && out.endsWith('\n')
        const output = await outputOf([...args, ...urlFlag], isEnough)
        expectVisible(output, args.join(' '))
        // `u{202e}` is the escape of one of the hostile characters.
        if (args.at(-1) !== '--json') expect(output.out, args[0]).to.include('u{202e}')
        else expect(JSON.stringify(JSON.parse(output.out)), args[0]).to.include(JSON.stringify(key))
      }),
    )
    const shown = JSON.parse((await outputOf(['show', key, '--json', ...urlFlag])).out)
    expect(shown.held[0]).to.deep.include({ key, name, metadata })
    // The slice leaves out the NUL, which an argument of a command cannot contain.
    const unlock = ['unlock', key, '--reason', hostile.slice(1, 250), ...urlFlag, '--fence']
    const otherCommands = [
      // No lock has this fence.
      [...unlock, String(fence + 1_000)],
      [...unlock, String(fence)],
      ['run', key, ...urlFlag, '--try', '--', 'true'],
    ]
    await Promise.all(
      otherCommands.map(async (args) => expectVisible(await outputOf(args), args[0]!)),
    )
  })

  /**
   * Chooses the form of the output of each command. A full run has each command once with text and
   * once with JSON. A quick run has every second command with text, and the others with JSON.
   */
  function asTextAndJson(commands: readonly string[][]): string[][] {
    return commands.flatMap((args, i) => {
      const json = [...args, '--json']
      return isFullRun ? [args, json] : [i % 2 === 0 ? args : json]
    })
  }

  /**
   * A broker that answers each message with the result of `answer`. If the result is undefined, the
   * broker closes the connection.
   */
  function hostileBroker(answer: (message: ReceivedMessage) => object | undefined) {
    return startFakeBroker(stage, (message, { send, socket }) => {
      const reply = answer(message)
      // A close reason has at most 123 bytes of UTF-8.
      if (reply === undefined) socket.close(4401, hostile.slice(0, 60))
      else send(reply)
    })
  }

  it('escapes the close reasons and error messages of a broker', async () => {
    const closingAtHello = await hostileBroker(() => undefined)
    const failingRequests = await hostileBroker(({ type, id }) =>
      type === 'hello'
        ? welcome
        : type === 'bye'
          ? undefined
          : { type: 'failed', id, code: 'FORBIDDEN', message: hostile },
    )
    const closingAtRequest = await hostileBroker(({ type }) =>
      type === 'hello' ? welcome : undefined,
    )
    const commands = [
      ...[['ls'], ['show', 'k'], ['stats'], ['watch'], ['top', '--count', '1'], ['bench']],
      ...[['session', 's'], ['ping'], ['run', 'k', '--', 'true']],
      ['unlock', 'k', '--fence', '1', '--reason', 'r'],
    ]
    const brokers = { closingAtHello, failingRequests, closingAtRequest }
    for (const [brokerIndex, [label, url]] of Object.entries(brokers).entries()) {
      await Promise.all(
        commands.map(async ([command, ...args], i) => {
          // In a quick run, each command runs against one of the three brokers. A ping runs only
          // against `closingAtHello`, because a `welcome` makes a ping succeed.
          if (label !== 'closingAtHello' && command === 'ping') return
          if (!isFullRun && command !== 'ping' && i % 3 !== brokerIndex) return
          const output = await outputOf([command!, '--url', url, ...args])
          expectVisible(output, `${command}, ${label}`)
          expect(output.err, `${command}, ${label}`).to.include('holdfast: ')
        }),
      )
    }
  })

  it('escapes the fields of answers, also strings in place of numbers', async () => {
    const held = { key: hostile, mode: hostile, session: hostile, fence: hostile, since: hostile }
    const hostileUrl = await hostileBroker(({ type, id }) => {
      if (type === 'hello') return { ...welcome, session: hostile }
      if (type === 'bye') return undefined
      const counts = { heldCount: hostile, waitingCount: hostile, more: false }
      if (type === 'stats') return { type, id, stats: { [hostile]: hostile, totalLocks: hostile } }
      if (type === 'watch') return { type: 'watching', id, held: [held], ...counts }
      const info = { session: hostile, lease: hostile, principal: hostile, address: hostile }
      const sessionFields = { sessions: [info], sessionsCount: 1 }
      return { type: 'found', id, held: [held], waiting: [held], ...counts, ...sessionFields }
    })
    const commands = [
      ...[['ls'], ['show', 'k'], ['session', 's'], ['stats'], ['top', '--count', '1'], ['watch']],
    ]
    await Promise.all(
      asTextAndJson(commands).map(async (args) => {
        const output = await outputOf([...args, '--url', hostileUrl], () => args[0] === 'watch')
        expectVisible(output, args.join(' '))
      }),
    )
  })

  it('escapes the fields of the status of a broker', async () => {
    const counts = { connections: 1, sessions: 1, held: 1, waiting: 1, memoryUsed: 1 }
    const numbers = { position: 1, waiting: 1, selfLeaseMs: 1 }
    const names = { members: [hostile], otherLogs: [hostile], name: hostile, problem: hostile }
    // Only the first body is a valid status, so the command prints only the text of this body.
    const bodies = [
      {
        ready: false,
        ...counts,
        cell: hostile,
        log: { kind: 'replicated', live: true, ...numbers, ...names },
        [hostile]: 1,
      },
      { ready: true, ...counts, connections: hostile, log: { kind: 'memory' } },
      { ready: true, log: { kind: 'journal', position: hostile, snapshot: { ageMs: hostile } } },
      { ready: true, log: { kind: 'replicated' } },
      hostile,
    ]
    const runs = bodies.map(async (body, i) => {
      const server = createServer((_, response) => response.end(JSON.stringify(body)))
      stage.onCleanUp(() => server.close())
      await once(server.listen(0, '127.0.0.1'), 'listening')
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const flagSets = isFullRun || i === 0 ? [[], ['--json']] : [[]]
      for (const flags of flagSets) {
        const output = await outputOf(['status', url, ...flags])
        expectVisible(output, JSON.stringify(body).slice(0, 20))
        if (i === 0) expect(output.out).to.match(/202e/)
      }
    })
    await Promise.all(runs)
  })

  it('escapes the text of clients in the log lines of serve', async () => {
    const serve = spawn(process.execPath, [
      holdfastFile,
      'serve',
      '--port',
      '0',
      '--log-level',
      'debug',
    ])
    stage.onCleanUp(() => serve.kill('SIGKILL'))
    let err = ''
    serve.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
    })
    const [first] = (await once(serve.stdout.setEncoding('utf8'), 'data')) as [string]
    const url = /ws:\S+/.exec(first)![0]
    const session = await stage.openSession(url, { name: hostile.slice(0, 256) })
    const lock = await session.lock(`k${hostileKey}`)
    await session.revoke(lock.key, { fence: lock.fence, reason: hostile.slice(1, 250) })
    await session.close()
    serve.kill('SIGTERM')
    await once(serve, 'close')
    expect(
      err
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).msg),
    ).to.include('Lock revoked')
    expectVisible({ out: '', err }, 'serve')
  })
})
