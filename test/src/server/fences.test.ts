/**
 * Fences rise over restarts: by the clock when there is nothing on disk, by what was reserved when
 * there is a file, whatever the clock does.
 */
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createBroker } from '@holdfast/server'
import { clockFences, fileFences } from '@holdfast/server/internal'
import { closeCodes, HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import { exitOf } from '../e2e/remote.js'
import { Stage } from '../e2e/stage.js'
import { Holdfast } from '../ops/command.js'
import { needs } from '../support/needs.js'
import { Bench } from './bench.js'
import { slowLog } from './logs.js'

const clustered = fileURLToPath(new URL('../log/programs/clustered.js', import.meta.url))
const block = 2 ** 20
const now = 1_700_000_000_000

/** What is written in a fence file. */
function reservedIn(path: string): number {
  return Number(/^holdfast fences (\d+)\n$/.exec(readFileSync(path, 'utf8'))?.[1])
}

function expectUnavailable(act: () => unknown, words: RegExp): void {
  expect(act).to.throw(HoldfastError, words).that.includes({ code: 'UNAVAILABLE' })
}

describe('fences: by the clock', () => {
  it('start at 1,024 for every millisecond since 1970, and stay below 2^53', () => {
    expect(clockFences(now).start).to.equal(now * 1_024)
    expect(clockFences(now + 0.7).start).to.equal(now * 1_024)
    const year2248 = Date.UTC(2248, 0, 1)
    expect(Number.isSafeInteger(clockFences(year2248).start)).to.equal(true)
  })

  it('may all be used', () => {
    expect(() => clockFences(now).reserve(Number.MAX_SAFE_INTEGER)).not.to.throw()
  })
})

describe('fences: in a file', () => {
  let folder: string
  let path: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-fences-'))
    path = join(folder, 'fences')
  })

  afterEach(() => rmSync(folder, { recursive: true }))

  it('begin at the clock in a new file, with a block on disk before the first is used', () => {
    const fences = fileFences(path, now)
    expect(fences.start).to.equal(now * 1_024)
    expect(reservedIn(path)).to.be.at.least(fences.start + block)
  })

  it('are written to disk before any of a block is used, once a block', () => {
    const fences = fileFences(path, now)
    const first = reservedIn(path)
    fences.reserve(first)
    expect(reservedIn(path)).to.equal(first)
    fences.reserve(first + 1)
    expect(reservedIn(path)).to.be.at.least(first + 1 + block)
  })

  it('rise above all that were reserved, although the clock was set back', () => {
    const before = fileFences(path, now)
    before.reserve(before.start + 5 * block)
    const reserved = reservedIn(path)
    const after = fileFences(path, now - 86_400_000)
    expect(after.start).to.be.at.least(reserved)
    expect(reservedIn(path)).to.be.above(after.start)
  })

  it('follow the clock when that is ahead, so that a lost file does no harm', () => {
    fileFences(path, now)
    expect(fileFences(path, now + 3_600_000).start).to.equal((now + 3_600_000) * 1_024)
  })

  it('rise over a hundred restarts in the same millisecond', () => {
    let highest = 0
    for (let i = 0; i < 100; i++) {
      const { start } = fileFences(path, now)
      expect(start).to.be.at.least(highest)
      highest = start + 1
    }
  })

  const damaged: [string, string][] = [
    ['empty', ''],
    ['cut short', 'holdfast fences 17'],
    ['something else', '{"name":"holdfast"}\n'],
    ['beyond 2^53', 'holdfast fences 9999999999999999\n'],
    ['negative', 'holdfast fences -5\n'],
    ['longer', 'holdfast fences 5\nholdfast fences 6\n'],
  ]
  for (const [what, text] of damaged) {
    it(`refuse to guess when the file is ${what}`, () => {
      writeFileSync(path, text)
      expectUnavailable(() => fileFences(path, now), /not a fence file/)
      expect(readFileSync(path, 'utf8')).to.equal(text)
    })
  }

  it('are refused where the file cannot be read', () => {
    mkdirSync(path)
    expectUnavailable(() => fileFences(path, now), /cannot be read/)
  })

  it('are refused where the file cannot be written', () => {
    expectUnavailable(() => fileFences(join(folder, 'missing', 'fences'), now), /cannot be written/)
  })

  it('leave a crashed write behind without harm', () => {
    const fences = fileFences(path, now)
    writeFileSync(`${path}.new`, 'holdfast fen')
    expect(fileFences(path, now).start).to.be.at.least(fences.start + block)
    expect(existsSync(`${path}.new`)).to.equal(false)
  })

  it('are not given out when the disk fails, nor after that', () => {
    const fences = fileFences(path, now)
    const reserved = reservedIn(path)
    // Nothing can be made in the folder any more, even by root.
    renameSync(folder, `${folder}.away`)
    expectUnavailable(() => fences.reserve(reserved + 1), /cannot be written/)
    expectUnavailable(() => fences.reserve(reserved + 1), /cannot be written/)
    renameSync(`${folder}.away`, folder)
    fences.reserve(reserved + 1)
    expect(reservedIn(path)).to.be.above(reserved)
  })
})

describe('fences: a file that is for one broker', () => {
  const stage = Stage.forEachTest()
  let folder: string
  let path: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-fences-'))
    path = join(folder, 'a', 'b', 'fences')
  })

  afterEach(() => rmSync(folder, { recursive: true }))

  function broker(fenceFile = path) {
    return createBroker({ fenceFile })
  }

  it('is made with its folder, for its owner only', async () => {
    const made = broker()
    expect(statSync(path).mode & 0o777).to.equal(0o600)
    expect(statSync(join(folder, 'a')).mode & 0o777).to.equal(0o700)
    await made.close()
    expect(readdirSync(dirname(path)), 'nothing else is left').to.deep.equal(['fences'])
  })

  it('refuses a second broker until the first is closed', async () => {
    const first = broker()
    const inUse = `The fence file ${path} is in use by another broker: use another path`
    expectUnavailable(() => broker(), new RegExp(inUse))
    expectUnavailable(() => broker(join(folder, 'a', '..', 'a', 'b', 'fences')), /is in use/)
    symlinkSync(join(folder, 'a'), join(folder, 'link'))
    expectUnavailable(() => broker(join(folder, 'link', 'b', 'fences')), /is in use/)
    const other = broker(join(folder, 'a', 'b', 'others'))
    await first.close()
    const second = broker()
    await Promise.all([second.close(), other.close()])
  })

  it('is no obstacle to a look at the settings, which leaves it as it is', async () => {
    const first = broker()
    const before = readFileSync(path, 'utf8')
    const args = ['serve', '--check', '--fence-file', path]
    const { code, out } = await Holdfast.run(stage, args)
    expect(code).to.equal(0)
    expect(out).to.include(`holdfast uses fenceFile ${path} from a flag`)
    expect(readFileSync(path, 'utf8')).to.equal(before)
    await first.close()
    writeFileSync(path, 'nonsense')
    const refused = await Holdfast.run(stage, args)
    const message = `holdfast: The fence file ${path} is not a fence file: use another path`
    expect([refused.code, refused.err, refused.out]).to.deep.equal([78, [message], []])
  })

  it('is free again when the broker could not begin', async () => {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, 'nonsense')
    expectUnavailable(() => broker(), /is not a fence file/)
    rmSync(path)
    await broker().close()
  })

  it('is free again after a crash in this container, and in another one', async () => {
    mkdirSync(dirname(path), { recursive: true })
    const network = statSync('/proc/self/ns/net', { throwIfNoEntry: false })?.ino ?? 0
    for (const number of [network, network + 1]) {
      const server = createServer().listen(`${path}.${number}.lock`)
      await once(server, 'listening')
      // As a crash does, which leaves the file of the socket behind.
      renameSync(`${path}.${number}.lock`, `${path}.left`)
      server.close()
      await once(server, 'close')
      renameSync(`${path}.left`, `${path}.${number}.lock`)
    }
    const made = broker()
    expect(
      readdirSync(dirname(path)).filter((name) => name.endsWith(`${network + 1}.lock`)),
    ).to.deep.equal([])
    await made.close()
  })

  it('stops a broker that finds that another one has written to it', () => {
    mkdirSync(dirname(path), { recursive: true })
    const fences = fileFences(path, now)
    const reserved = reservedIn(path)
    writeFileSync(path, `holdfast fences ${reserved + block}\n`)
    expectUnavailable(() => fences.reserve(reserved + 1), /is in use by another broker/)
    expect(reservedIn(path)).to.equal(reserved + block)
  })

  it('refuses a link in its place, and follows none beside it', () => {
    mkdirSync(dirname(path), { recursive: true })
    const victim = join(folder, 'victim')
    writeFileSync(victim, 'holdfast fences 5\n')
    for (const name of [`${path}.new`, `${path}.tmp`, `${path}.lock`]) symlinkSync(victim, name)
    fileFences(path, now)
    rmSync(path)
    symlinkSync(victim, path)
    expectUnavailable(() => fileFences(path, now), /is a link: use the path of the file itself/)
    rmSync(path)
    symlinkSync(join(folder, 'not-there'), path)
    expectUnavailable(() => broker(), /is a link/)
    expect(readFileSync(victim, 'utf8')).to.equal('holdfast fences 5\n')
    expect(existsSync(join(folder, 'not-there'))).to.equal(false)
  })

  it('refuses a pipe instead of waiting for it', function () {
    if (process.platform === 'win32') this.skip()
    mkdirSync(dirname(path), { recursive: true })
    execFileSync('mkfifo', [path])
    expectUnavailable(() => broker(), /cannot be read/)
  })

  it('refuses the second worker of a cluster', async () => {
    const cluster = fork(clustered, ['fenceFile', path])
    const outcomes: string[] = []
    cluster.on('message', (outcome: string) => outcomes.push(outcome))
    await exitOf(cluster)
    expect(outcomes.sort().map((line) => line.split(' ')[0])).to.deep.equal([
      'UNAVAILABLE',
      'started',
    ])
  })

  describe('in several containers', () => {
    needs('namespaces')

    it('refuses the second one', async () => {
      const first = broker()
      const inside = ['unshare', '--net', '--pid', '--fork']
      const args = ['serve', '--port', '0', '--fence-file', path]
      const { code, err } = await Holdfast.run(stage, args, { inside })
      expect({ code, err }).to.deep.equal({
        code: 78,
        err: [`holdfast: The fence file ${path} is in use by another broker: use another path`],
      })
      await first.close()
    })
  })
})

describe('fences: a broker that can have no more', () => {
  const failure = new HoldfastError('UNAVAILABLE', 'The fence file f cannot be written.')

  /** Has this many fences; what was reserved, and what it said of its failure. */
  function poor(most: number) {
    const tries: number[] = []
    const failures: HoldfastError[] = []
    const reserve = (upTo: number): void => {
      tries.push(upTo)
      if (upTo > most) throw failure
    }
    const onFailure = (error: HoldfastError) => failures.push(error)
    return { tries, failures, parts: { fences: { start: 0, reserve }, onFailure } }
  }

  it('grants nothing more, sends everybody away, and says so once', () => {
    const { tries, failures, parts } = poor(2)
    const bench = new Bench({}, undefined, parts)
    const [client, other] = [bench.join(), bench.join()]
    expect([client.take('k'), client.take('l')]).to.deep.equal([1, 2])
    const { length } = tries
    client.lock('m')
    expect(failures).to.deep.equal([failure])
    expect(client.heard()).to.deep.equal([])
    for (const { socket } of [client, other]) {
      expect(socket.closedWith?.code).to.equal(closeCodes.internal.code)
      socket.drop()
    }
    expect(bench.broker.isServing).to.equal(false)
    expect(bench.connect().closedWith?.code).to.equal(closeCodes.restart.code)
    bench.environment.pass(600_000)
    expect(tries.length, 'tried no more').to.equal(length + 1)
    expect([bench.broker.table.heldCount, failures.length]).to.deep.equal([2, 1])
  })

  it('drops what is still in a log that takes its time', () => {
    const { failures, parts } = poor(1)
    const { log, deliver } = slowLog()
    const bench = new Bench({}, log, parts)
    deliver()
    const socket = bench.greet()
    deliver()
    bench.environment.endTurn()
    const client = bench.clientOn(socket)
    for (const key of ['k', 'l', 'm']) client.lock(key)
    deliver()
    bench.environment.endTurn()
    expect(client.heard()).to.deep.equal([{ type: 'granted', id: 1, fence: 1 }])
    expect(client.socket.closedWith?.code).to.equal(closeCodes.internal.code)
    expect([bench.broker.table.heldCount, failures.length]).to.deep.equal([1, 1])
  })

  it('does not begin without any', () => {
    const { parts } = poor(0)
    expect(() => new Bench({}, undefined, parts)).to.throw(failure)
  })
})
