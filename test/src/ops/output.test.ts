/**
 * Output that cannot be written: the command exits 74 with a message, and `token` leaves its file
 * unchanged.
 */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { full as isFull } from '../support/counts.js'
import { needs, skip } from '../support/needs.js'
import { type Ended, Holdfast } from './command.js'
import { scratch } from './scratch.js'

/** A device that accepts no bytes: every write fails with ENOSPC. */
const full = '/dev/full'

/** Runs a command whose output pipe is closed already, and returns the exit code. */
const unread = [
  ...['sh', '-c'],
  `{ trap '' PIPE; while echo x 2>/dev/null; do :; done; "$@"; echo "code $?" >&2; } | true`,
  'sh',
]

describe('holdfast with output that cannot be written', () => {
  const stage = Stage.forEachTest()

  before(function () {
    if (!existsSync(full)) skip(this, `needs ${full}`)
  })

  /**
   * Runs the command with its standard output, or another of its open files, directed to this path.
   */
  function into(path: string, args: readonly string[], file = 1): Promise<Ended> {
    const inside = ['sh', '-c', `path=$1; shift; exec "$@" ${file}>"$path"`, 'sh', path]
    return Holdfast.run(stage, args, { inside })
  }

  it('exits 74 with a message, for every command', async function () {
    this.timeout(60_000)
    const { url, sessions } = await stage.brokerWith('ann')
    const { fence } = await sessions[0]!.lock('k')
    const at = ['--url', url]
    // With small counts, one command for each way to print. With full counts, all commands.
    const more = [
      ...[
        ['completion', 'bash'],
        ['serve', '--check'],
        ['ls', '--json', ...at],
      ],
      ...[['stats'], ['status'], ['show', 'k'], ['ping', '--count', '1']].map((one) => [
        ...one,
        ...at,
      ]),
    ]
    const commands = [
      ['--help'],
      ...[['ls'], ['watch'], ['top'], ['bench', '--sessions', '1', '--time', '10ms']].map((one) => [
        ...one,
        ...at,
      ]),
      ...(isFull ? more : []),
    ]
    const runs = await Promise.all(commands.map((args) => into(full, args)))
    for (const [i, { code, err }] of runs.entries()) {
      const name = commands[i]!.join(' ')
      expect(code, name).to.equal(74)
      expect(err, name).to.have.length(1)
      expect(err[0], name).to.match(/^holdfast: Cannot write to standard output \(ENOSPC\)/)
    }
    const unlock = ['unlock', 'k', '--fence', String(fence), '--reason', 'stuck', ...at]
    expect((await into(full, unlock)).code, 'unlock').to.equal(74)
  })

  it('exits 74 if serve could not print its URL, but serves until a signal stops it', async () => {
    const inside = ['sh', '-c', `exec "$@" >${full}`, 'sh']
    const serve = Holdfast.start(stage, ['serve', '--port', '0'], { inside })
    expect((await serve.err.count(1))[0]).to.include('ENOSPC')
    serve.process.kill('SIGTERM')
    expect((await serve.ended()).code).to.equal(74)
  })

  it('ends silently with its usual exit code when the reader has closed the pipe', async () => {
    const { url } = await stage.broker()
    const env = { HOLDFAST_URL: url }
    const runs = [['ls'], ['--help'], ['stats']].map(async (args) => {
      const { err } = await Holdfast.run(stage, args, { inside: unread, env })
      expect(err, args[0]).to.deep.equal(['code 0'])
    })
    await Promise.all(runs)
  })

  it('ignores messages that cannot be written to standard error', async () => {
    const { url } = await stage.broker()
    expect((await into(full, ['ls', '--url', url], 2)).code).to.equal(0)
    expect((await into(full, ['ls', '--url', 'ws://127.0.0.1:1'], 2)).code).to.equal(69)
  })

  describe('on a nearly full disk', () => {
    needs('mounts')

    it('exits 74 if only the start of a line could be written', async () => {
      const disk = mkdtempSync(join(tmpdir(), 'holdfast-disk-'))
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', disk])
      stage.onClear(() => {
        execFileSync('umount', [disk])
        rmdirSync(disk)
      })
      const { url, sessions } = await stage.brokerWith('ann')
      await sessions[0]!.lock('k', { metadata: 'x'.repeat(4_000) })
      const { code, err } = await into(join(disk, 'out'), ['show', 'k', '--json', '--url', url])
      expect(code).to.equal(74)
      expect(err[0]).to.include('ENOSPC')
    })
  })

  it('adds no line to the token file if the token could not be printed', async () => {
    const files = scratch(stage)
    const former = `${'0'.repeat(64)} ann lock\n`
    const file = files.write('tokens', former)
    for (const more of [[], ['--json']]) {
      const { code, err } = await into(full, ['token', 'bob', '--file', file, ...more])
      expect([code, err.length]).to.deep.equal([74, 1])
      expect(err[0]).to.match(/token cannot be printed \(ENOSPC\)/)
    }
    const piped = await Holdfast.run(stage, ['token', 'bob', '--file', file], { inside: unread })
    expect(piped.err.at(-1)).to.equal('code 74')
    expect(readFileSync(file, 'utf8')).to.equal(former)
    expect(existsSync(`${file}.new`)).to.equal(false)
    // Without `--file`, the line for the token file goes to standard error. A token whose line is
    // lost is useless too.
    expect((await into(full, ['token', 'bob'], 2)).code).to.equal(74)
  })

  it('prints no token if its line cannot be written', async () => {
    const files = scratch(stage)
    mkdirSync(files.path('folder'))
    symlinkSync(files.write('real', ''), files.path('link'))
    symlinkSync(files.path('nowhere'), files.path('dangling'))
    execFileSync('mkfifo', [files.path('pipe')])
    const names = ['folder', 'link', 'dangling', 'pipe', 'missing/tokens']
    const runs = names.map(async (name) => {
      const args = ['token', 'bob', '--file', files.path(name)]
      const { code, out, err } = await Holdfast.run(stage, args)
      expect([code, out, err.length], name).to.deep.equal([78, [], 1])
    })
    await Promise.all(runs)
    expect(readFileSync(files.path('real'), 'utf8')).to.equal('')
    expect(existsSync(files.path('nowhere'))).to.equal(false)
  })

  it('restricts the token file to its owner, and to its group if it was 0640', async () => {
    const files = scratch(stage)
    for (const [before, after] of [
      [0o644, 0o600],
      [0o666, 0o600],
      [0o640, 0o640],
      [0o600, 0o600],
    ] as const) {
      const file = files.write(`tokens-${before}`, '')
      chmodSync(file, before)
      await Holdfast.run(stage, ['token', 'bob', '--file', file])
      expect(statSync(file).mode & 0o777, before.toString(8)).to.equal(after)
    }
  })

  it('loses no line when several processes add tokens to one file', async () => {
    const file = scratch(stage).path('tokens')
    const names = ['ann', 'bob', 'cyd', 'dan', 'eve']
    const runs = names.map((name) => Holdfast.run(stage, ['token', name, '--file', file]))
    for (const { code } of await Promise.all(runs)) expect(code).to.equal(0)
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
    expect(lines.map((line) => line.split(' ')[1])).to.have.members(names)
  })
})
