/**
 * Tests commands that cannot write their output: such a command must exit 74 with a message, and
 * `holdfast token` must leave the token file unchanged. Most commands ignore a closed pipe and a
 * standard error that cannot be written. The last tests check how `holdfast token` writes its file.
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
import { isFullRun } from '../support/counts.js'
import { needs, skip } from '../support/needs.js'
import { type Ended, Holdfast } from './command.js'
import { makeScratchFolder } from './scratch.js'

/** A device on which every write fails with ENOSPC, as on a full disk. */
const fullDevice = '/dev/full'
/** A file descriptor. */
const standardError = 2

/**
 * A wrapper that starts a command with a closed output pipe, and prints the exit code to standard
 * error. The shell first writes until a write fails: then the reader `true` has closed the pipe.
 */
const withClosedPipe = [
  ...['sh', '-c'],
  `{ trap '' PIPE; while echo x 2>/dev/null; do :; done; "$@"; echo "code $?" >&2; } | true`,
  'sh',
]

describe('holdfast with output that cannot be written', () => {
  const stage = Stage.forEachTest()

  before(function () {
    if (!existsSync(fullDevice)) skip(this, `needs ${fullDevice}`)
  })

  /**
   * Runs a command that writes one of its outputs to the file at this path.
   *
   * @param descriptor 1 for standard output (the default), or `standardError`.
   */
  function runInto(path: string, args: readonly string[], descriptor = 1): Promise<Ended> {
    const wrapper = ['sh', '-c', `path=$1; shift; exec "$@" ${descriptor}>"$path"`, 'sh', path]
    return Holdfast.run(stage, args, { wrapper })
  }

  it('exits 74 with a message for every command', async function () {
    this.timeout(60_000)
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    const { fence } = await sessions[0]!.lock('k')
    const urlFlag = ['--url', url]
    // A quick run tests one command for each way to print. Only a full run tests these commands.
    const fullRunCommands = [
      ['completion', 'bash'],
      ['serve', '--check'],
      ['ls', '--json', ...urlFlag],
      ...[['stats'], ['status'], ['show', 'k'], ['ping', '--count', '1']].map((words) => [
        ...words,
        ...urlFlag,
      ]),
    ]
    const commands = [
      ['--help'],
      ...[['ls'], ['watch'], ['top'], ['bench', '--sessions', '1', '--time', '10ms']].map(
        (words) => [...words, ...urlFlag],
      ),
      ...(isFullRun ? fullRunCommands : []),
    ]
    const runs = await Promise.all(commands.map((args) => runInto(fullDevice, args)))
    for (const [i, { code, err }] of runs.entries()) {
      const name = commands[i]!.join(' ')
      expect(code, name).to.equal(74)
      expect(err, name).to.have.length(1)
      expect(err[0], name).to.match(/^holdfast: Cannot write to standard output \(ENOSPC\)/)
    }
    // `show k` needs the lock, so `unlock` comes last.
    const unlock = ['unlock', 'k', '--fence', String(fence), '--reason', 'stuck', ...urlFlag]
    expect((await runInto(fullDevice, unlock)).code, 'unlock').to.equal(74)
  })

  it('serves until a signal and then exits 74, if serve cannot print its URL', async () => {
    const wrapper = ['sh', '-c', `exec "$@" >${fullDevice}`, 'sh']
    const serve = Holdfast.start(stage, ['serve', '--port', '0'], { wrapper })
    expect((await serve.err.waitForCount(1))[0]).to.include('ENOSPC')
    serve.process.kill('SIGTERM')
    expect((await serve.ended()).code).to.equal(74)
  })

  it('exits silently with its usual exit code if the reader has closed the pipe', async () => {
    const { url } = await stage.startBroker()
    const env = { HOLDFAST_URL: url }
    const runs = [['ls'], ['--help'], ['stats']].map(async (args) => {
      const { err } = await Holdfast.run(stage, args, { wrapper: withClosedPipe, env })
      expect(err, args[0]).to.deep.equal(['code 0'])
    })
    await Promise.all(runs)
  })

  it('ignores messages that cannot be written to standard error', async () => {
    const { url } = await stage.startBroker()
    expect((await runInto(fullDevice, ['ls', '--url', url], standardError)).code).to.equal(0)
    // No broker listens at this URL, so the exit code is 69.
    const wrongUrl = ['--url', 'ws://127.0.0.1:1']
    expect((await runInto(fullDevice, ['ls', ...wrongUrl], standardError)).code).to.equal(69)
  })

  describe('on a nearly full disk', () => {
    needs('mounts')

    /** Mounts a disk of 4 KiB. Returns its path. */
    function mountDisk(): string {
      const disk = mkdtempSync(join(tmpdir(), 'holdfast-disk-'))
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', disk])
      stage.onCleanUp(() => {
        execFileSync('umount', [disk])
        rmdirSync(disk)
      })
      return disk
    }

    it('exits 74 if only the start of a line could be written', async () => {
      const disk = mountDisk()
      const { url, sessions } = await stage.startBrokerWithSessions('ann')
      // With its other fields, the JSON is larger than the disk of 4 KiB.
      await sessions[0]!.lock('k', { metadata: 'x'.repeat(4_000) })
      const { code, err } = await runInto(join(disk, 'out'), ['show', 'k', '--json', '--url', url])
      expect(code).to.equal(74)
      expect(err[0]).to.include('ENOSPC')
    })

    it('exits 74 if only the start of the output of `once` could be written', async () => {
      const { url } = await stage.startBroker()
      const args = ['once', '--url', url, 'k', '--', 'printf', '%6000s', 'x']
      const { code, err } = await runInto(join(mountDisk(), 'out'), args)
      expect(code).to.equal(74)
      expect(err[0]).to.include('ENOSPC')
    })
  })

  it('adds no line to the token file if the token cannot be printed', async () => {
    const files = makeScratchFolder(stage)
    // A line begins with the SHA-256 of the token in 64 hexadecimal digits.
    const formerText = `${'0'.repeat(64)} ann lock\n`
    const file = files.write('tokens', formerText)
    for (const flags of [[], ['--json']]) {
      const { code, err } = await runInto(fullDevice, ['token', 'bob', '--file', file, ...flags])
      expect([code, err.length]).to.deep.equal([74, 1])
      expect(err[0]).to.match(/token cannot be printed \(ENOSPC\)/)
    }
    const args = ['token', 'bob', '--file', file]
    const withoutReader = await Holdfast.run(stage, args, { wrapper: withClosedPipe })
    expect(withoutReader.err.at(-1)).to.equal('code 74')
    expect(readFileSync(file, 'utf8')).to.equal(formerText)
    // The command writes its lines to this file, and then renames the file to `tokens`.
    expect(existsSync(`${file}.new`)).to.equal(false)
    // Without `--file`, the command prints the line for the token file to standard error. The token
    // is useless without this line, so the command must exit 74.
    expect((await runInto(fullDevice, ['token', 'bob'], standardError)).code).to.equal(74)
  })

  it('prints no token if the line cannot be written to the token file', async () => {
    const files = makeScratchFolder(stage)
    mkdirSync(files.path('folder'))
    symlinkSync(files.write('real', ''), files.path('link'))
    symlinkSync(files.path('nowhere'), files.path('dangling'))
    execFileSync('mkfifo', [files.path('pipe')])
    // The command accepts only a regular file, or a new file in an existing folder.
    const names = ['folder', 'link', 'dangling', 'pipe', 'missing/tokens']
    const runs = names.map(async (name) => {
      const args = ['token', 'bob', '--file', files.path(name)]
      const { code, out, err } = await Holdfast.run(stage, args)
      // 78 is the exit code for an invalid setting.
      expect([code, out, err.length], name).to.deep.equal([78, [], 1])
    })
    await Promise.all(runs)
    expect(readFileSync(files.path('real'), 'utf8')).to.equal('')
    expect(existsSync(files.path('nowhere'))).to.equal(false)
  })

  it('restricts the token file to its owner, but keeps the mode 0640', async () => {
    const files = makeScratchFolder(stage)
    for (const [modeBefore, modeAfter] of [
      [0o644, 0o600],
      [0o666, 0o600],
      [0o640, 0o640],
      [0o600, 0o600],
    ] as const) {
      const file = files.write(`tokens-${modeBefore}`, '')
      chmodSync(file, modeBefore)
      await Holdfast.run(stage, ['token', 'bob', '--file', file])
      expect(statSync(file).mode & 0o777, modeBefore.toString(8)).to.equal(modeAfter)
    }
  })

  it('loses no line when several processes add tokens to one file', async () => {
    const file = makeScratchFolder(stage).path('tokens')
    const names = ['ann', 'bob', 'cyd', 'dan', 'eve']
    const runs = names.map((name) => Holdfast.start(stage, ['token', name, '--file', file]).ended())
    for (const { code } of await Promise.all(runs)) expect(code).to.equal(0)
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
    expect(lines.map((line) => line.split(' ')[1])).to.have.members(names)
  })
})
