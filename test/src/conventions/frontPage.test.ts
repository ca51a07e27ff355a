/**
 * Follows the instructions of README.md, the front page, in a fresh clone. The instructions start a
 * broker, acquire a lock in a second terminal, make tarballs, and install the tarballs in a new
 * project. In the new project, the tests also run the first program of the client's guide. Only a
 * full run includes these tests, because they install all packages.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { assert } from 'chai'
import { isFullRun } from '../support/counts.js'
import { freePort } from '../support/freePort.js'
import { skip } from '../support/needs.js'
import { firstCommandsByTerminal, firstExample } from './docs.js'
import { npmCommand } from './npm.js'
import { read } from './repository.js'
import { copySources } from './tarballs.js'

describe('the front page', function () {
  this.timeout(600_000)
  if (!isFullRun) {
    it('leads the reader to a lock', function () {
      skip(this, 'installs a fresh clone, so it runs only in npm run test:ci')
    })
    return
  }

  const page = read('README.md')
  let folder: string
  let env: NodeJS.ProcessEnv
  let serving: ChildProcess | undefined

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-front-page-'))
    const port = await freePort()
    // npm uses the packages in its cache, which `npm install` has filled.
    const preferOffline = { npm_config_prefer_offline: 'true' }
    // The default port may be in use on this machine.
    const address = { HOLDFAST_PORT: String(port), HOLDFAST_URL: `ws://127.0.0.1:${port}` }
    env = { ...npmCommand().env, ...preferOffline, ...address }
  })

  after(async () => {
    if (serving?.exitCode === null && serving.pid !== undefined) {
      const ended = once(serving, 'close')
      // A negative id names a process group: here the shell and all commands that it runs.
      process.kill(-serving.pid, 'SIGTERM')
      await ended
    }
    await rm(folder, { recursive: true, force: true })
  })

  /** Runs commands in a shell, as a user does in a terminal. The shell has a new process group. */
  function terminal(commands: readonly string[], cwd = folder): ChildProcess {
    const line = commands.join(' && ')
    const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe']
    return spawn('sh', ['-c', line], { cwd, env, stdio, detached: true })
  }

  /** Runs commands, which must succeed. Resolves with their output on stdout. */
  async function outputOf(commands: readonly string[], cwd = folder): Promise<string> {
    const child = terminal(commands, cwd)
    const printed = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.setEncoding('utf8').on('data', (chunk: string) => {
        printed[name] += chunk
      })
    }
    const [code] = await once(child, 'close')
    assert.equal(code, 0, `${commands.join(' && ')}\n${printed.stdout}\n${printed.stderr}`)
    return printed.stdout
  }

  it('starts a broker in a fresh clone, and acquires a lock in a second terminal', async () => {
    const [inFirstTerminal = [], inSecondTerminal = []] = firstCommandsByTerminal(page) ?? []
    const [clone = '', ...start] = inFirstTerminal
    assert.match(clone, /^git clone \S+ holdfast$/)
    await copySources(join(folder, 'holdfast'))
    serving = terminal(start)
    serving.stderr?.resume()
    for await (const line of createInterface(serving.stdout!)) {
      if (line.includes('listening on')) break
    }
    serving.stdout?.resume()
    assert.match(await outputOf(inSecondTerminal), /^lock orders, fence \d+\n$/)
  })

  it('makes tarballs, and acquires a lock in a project that installs them', async () => {
    // The previous test has made the clone and started the broker, which still runs.
    const advice = await outputOf(['npm run pack'], join(folder, 'holdfast'))
    // The last line is the command that installs the tarballs of all packages.
    const install = advice.trim().split('\n').at(-1)?.trim() ?? ''
    assert.match(install, /^npm install "/)
    const project = join(folder, 'project')
    await mkdir(project)
    await outputOf([install], project)
    const { code = '' } = firstExample(page) ?? {}
    // The port in README.md may be in use, so the test replaces the URL, and nothing else.
    const text = code.replace('ws://127.0.0.1:7420', env['HOLDFAST_URL'] ?? '')
    await writeFile(join(project, 'first.mjs'), text)
    const first = await outputOf(['node first.mjs'], project)
    assert.match(first, /^lock orders:42, fence \d+\n$/)
    // The first program of the client's guide starts its own broker.
    await writeFile(join(project, 'own.mjs'), firstExample(read('client/README.md'))?.code ?? '')
    const output = await outputOf(['node own.mjs'], project)
    assert.match(output, /^alice holds orders:42 with fence \d+\nbob .*: true\n$/)
  })
})
