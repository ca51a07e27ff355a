/**
 * Tests the launcher: the shell script behind the command `holdfast`. The launcher chooses the
 * flags with which it starts Node.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { skip } from '../support/needs.js'
import { Holdfast } from './command.js'

/** With these flags, Node collects garbage without extra threads, and compiles in one thread. */
const threadFlags = ['--single-threaded-gc', '--v8-pool-size=1']
/** The processors that this process may use, such as `0-3`; undefined outside Linux. */
const processors = /^Cpus_allowed_list:\s+(\S+)$/m.exec(statusOfThisProcess())?.[1]
const canChooseProcessors =
  processors !== undefined && spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status === 0

/** The status of this process on Linux; empty on other systems. */
function statusOfThisProcess(): string {
  return process.platform === 'linux' ? readFileSync('/proc/self/status', 'utf8') : ''
}

describe('the launcher of holdfast', () => {
  const stage = Stage.forEachTest()

  /** Starts a broker with the launcher on these processors. Returns its command line. */
  async function argumentsOn(processorList: string): Promise<string[]> {
    const args = ['serve', '--port', '0', '--drain', '0']
    const wrapper = ['taskset', '-c', processorList]
    const command = Holdfast.start(stage, args, { wrapper, usesLauncher: true })
    await command.out.waitForCount(1)
    return readFileSync(`/proc/${command.process.pid}/cmdline`, 'utf8').split('\0')
  }

  before(function () {
    if (!canChooseProcessors) skip(this, 'needs Linux and the command taskset')
  })

  it('makes V8 use fewer threads if only one processor is available', async () => {
    const [first] = /^\d+/.exec(processors!)!
    expect(await argumentsOn(first)).to.include.members(threadFlags)
  })

  it('lets V8 use its usual threads if several processors are available', async function () {
    if (/^\d+$/.test(processors!)) skip(this, 'needs several processors')
    expect(await argumentsOn(processors!)).to.not.include.oneOf(threadFlags)
  })

  it('ignores an environment variable that has the name of one of its own variables', async function () {
    // On one processor, the launcher overwrites `_holdfast_flags`, so the test would prove nothing.
    if (/^\d+$/.test(processors!)) skip(this, 'needs several processors')
    // With this flag, Node would print its version and not run the command.
    const env = { _holdfast_flags: '--version' }
    const { out } = await Holdfast.run(stage, ['status', '--help'], { env, usesLauncher: true })
    expect(out[0]).to.match(/^Usage: /)
  })
})
