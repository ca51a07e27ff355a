/**
 * Tests fences. A fence is the number of a grant. Fences must rise with every grant, also over
 * restarts of the broker. Each start has a floor, and its fences are above the floor. Without a
 * fence file, the floor comes from the clock. With a fence file, the broker reserves fences on disk
 * before their use, so that fences rise even if the clock is set back.
 */
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
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
import { LockTable, maxFenceFloor } from '@holdfast/server/core'
import { clockFences, fileFences, MemoryLog, type StateMachine } from '@holdfast/server/internal'
import { closeCodes, HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import { exitOf } from '../e2e/remote.js'
import { Stage } from '../e2e/stage.js'
import { Holdfast } from '../ops/command.js'
import { needs } from '../support/needs.js'
import { BrokerHarness } from './harness.js'
import { slowLog } from './logs.js'

const clustered = fileURLToPath(new URL('../log/programs/clustered.js', import.meta.url))
/** The number of fences that a broker reserves in one step. */
const blockSize = 2 ** 20
/** The time of the clock at the start of each test, in ms since 1970. */
const now = 1_700_000_000_000
const year2100 = Date.UTC(2100, 0, 1)

/** The number in a fence file, which is the highest reserved fence. */
function reservedIn(path: string): number {
  return Number(/^holdfast fences (\d+)\n$/.exec(readFileSync(path, 'utf8'))?.[1])
}

/** The target of a link; undefined if the link has gone. */
function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}

/** Checks that the function throws an error with this message and the code UNAVAILABLE. */
function expectUnavailable(act: () => unknown, message: RegExp): void {
  expect(act).to.throw(HoldfastError, message).that.includes({ code: 'UNAVAILABLE' })
}

describe('fences: without a file, fences', () => {
  it('start at 1,024 times the milliseconds since 1970, and stay below 2^53', () => {
    expect(clockFences(now).floor).to.equal(now * 1_024)
    expect(clockFences(now + 0.7).floor).to.equal(now * 1_024)
    const { floor } = clockFences(year2100 - 1)
    expect(maxFenceFloor).to.equal(year2100 * 1_024)
    expect(floor).to.be.lessThan(maxFenceFloor)
    // At least 2^52 fences remain above the greatest floor.
    expect(maxFenceFloor).to.be.lessThan(Number.MAX_SAFE_INTEGER - 2 ** 52)
  })

  it('are refused if the clock is after the year 2099 or broken', () => {
    // 8.64e15 ms is the latest time of a Date. A broken clock may give NaN.
    for (const wall of [year2100, 8.64e15, Number.NaN]) {
      expectUnavailable(() => clockFences(wall), /after the year 2099.*set the clock/)
    }
  })

  it('can be reserved up to 2^53 - 1, and are used up after this number', () => {
    const fences = clockFences(now)
    expect(() => fences.reserve(Number.MAX_SAFE_INTEGER)).not.to.throw()
    expectUnavailable(() => fences.reserve(2 ** 53), /used up/)
  })

  it('are not raised above the greatest floor by a broker whose clock is centuries ahead', () => {
    const table = new LockTable()
    const raise = (fence: number) => table.apply({ type: 'raiseFenceFloor', fence, at: 0 })
    raise(now * 1_024)
    for (const fence of [maxFenceFloor + 1, 2 ** 53, Number.POSITIVE_INFINITY]) raise(fence)
    expect(table.fence).to.equal(now * 1_024)
    raise(maxFenceFloor)
    expect(table.fence).to.equal(maxFenceFloor)
  })
})

describe('fences: with a file, fences', () => {
  let folder: string
  let path: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-fences-'))
    path = join(folder, 'fences')
  })

  afterEach(() => rmSync(folder, { recursive: true }))

  it('start at the time of the clock in a new file, with a reserved block', () => {
    const fences = fileFences(path, now)
    expect(fences.floor).to.equal(now * 1_024)
    expect(reservedIn(path)).to.be.at.least(fences.floor + blockSize)
  })

  it('are reserved on disk before they are used, one block at a time', () => {
    const fences = fileFences(path, now)
    const reserved = reservedIn(path)
    fences.reserve(reserved)
    expect(reservedIn(path)).to.equal(reserved)
    fences.reserve(reserved + 1)
    expect(reservedIn(path)).to.be.at.least(reserved + 1 + blockSize)
  })

  it('start above all reserved fences, although the clock was set back', () => {
    const formerFences = fileFences(path, now)
    formerFences.reserve(formerFences.floor + 5 * blockSize)
    const reserved = reservedIn(path)
    // The clock was set back by a day.
    const newFences = fileFences(path, now - 86_400_000)
    expect(newFences.floor).to.be.at.least(reserved)
    expect(reservedIn(path)).to.be.above(newFences.floor)
  })

  it('start at the time of the clock if the fences in the file are lower', () => {
    fileFences(path, now)
    expect(fileFences(path, now + 3_600_000).floor).to.equal((now + 3_600_000) * 1_024)
  })

  it('rise over a hundred restarts in the same millisecond', () => {
    let formerFirstFence = 0
    for (let i = 0; i < 100; i++) {
      const { floor } = fileFences(path, now)
      expect(floor).to.be.at.least(formerFirstFence)
      // The first fence of a broker is above the floor.
      formerFirstFence = floor + 1
    }
  })

  const damaged: [string, string][] = [
    ['empty', ''],
    ['cut short', 'holdfast fences 17'],
    ['of another format', '{"name":"holdfast"}\n'],
    ['beyond 2^53', 'holdfast fences 9999999999999999\n'],
    ['negative', 'holdfast fences -5\n'],
    ['longer than a line', 'holdfast fences 5\nholdfast fences 6\n'],
  ]
  for (const [damage, text] of damaged) {
    it(`are refused, and the file stays unchanged, if the file is ${damage}`, () => {
      writeFileSync(path, text)
      expectUnavailable(() => fileFences(path, now), /not a fence file/)
      expect(readFileSync(path, 'utf8')).to.equal(text)
    })
  }

  it('are refused if the clock is after the year 2099, or the file has the fences of such a clock', () => {
    expectUnavailable(() => fileFences(path, year2100), /after the year 2099.*set the clock/)
    expect(existsSync(path)).to.equal(false)
    writeFileSync(path, `holdfast fences ${maxFenceFloor + 1}\n`)
    expectUnavailable(() => fileFences(path, now), /has fences after the year 2099/)
  })

  it('are refused if the file cannot be read', () => {
    mkdirSync(path)
    expectUnavailable(() => fileFences(path, now), /cannot be read/)
  })

  it('are refused if the file cannot be written', () => {
    expectUnavailable(() => fileFences(join(folder, 'missing', 'fences'), now), /cannot be written/)
  })

  it('rise although a crash left an incomplete temporary file', () => {
    const fences = fileFences(path, now)
    writeFileSync(`${path}.new`, 'holdfast fen')
    expect(fileFences(path, now).floor).to.be.at.least(fences.floor + blockSize)
    expect(existsSync(`${path}.new`)).to.equal(false)
  })

  it('are not used while the disk fails, and are reserved again when the disk works again', () => {
    const fences = fileFences(path, now)
    const reserved = reservedIn(path)
    // The folder is gone, so not even root can write to it.
    renameSync(folder, `${folder}.away`)
    // The second call shows that the failed first call has reserved nothing.
    for (let i = 0; i < 2; i++) {
      expectUnavailable(() => fences.reserve(reserved + 1), /cannot be written/)
    }
    renameSync(`${folder}.away`, folder)
    fences.reserve(reserved + 1)
    expect(reservedIn(path)).to.be.above(reserved)
  })
})

describe('fences: a fence file', () => {
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

  it('is created with its folder, and only the owner may read file and folder', async () => {
    const created = broker()
    expect(statSync(path).mode & 0o777).to.equal(0o600)
    expect(statSync(join(folder, 'a')).mode & 0o777).to.equal(0o700)
    await created.close()
    expect(readdirSync(dirname(path)), 'no other file is left').to.deep.equal(['fences'])
  })

  it('cannot be used by a second broker until the first broker is closed', async () => {
    const first = broker()
    const inUse = `The fence file ${path} is in use by another broker: use another path`
    expectUnavailable(() => broker(), new RegExp(inUse))
    expectUnavailable(() => broker(join(folder, 'a', '..', 'a', 'b', 'fences')), /is in use/)
    symlinkSync(join(folder, 'a'), join(folder, 'link'))
    expectUnavailable(() => broker(join(folder, 'link', 'b', 'fences')), /is in use/)
    // Another broker may use another file of the same folder.
    const other = broker(join(folder, 'a', 'b', 'others'))
    await first.close()
    const second = broker()
    await Promise.all([second.close(), other.close()])
  })

  it('is read but not changed by `serve --check`, even while a broker uses the file', async () => {
    const first = broker()
    const textBefore = readFileSync(path, 'utf8')
    const args = ['serve', '--check', '--fence-file', path]
    const { code, out } = await Holdfast.run(stage, args)
    expect(code).to.equal(0)
    expect(out).to.include(`holdfast uses fenceFile ${path} from a flag`)
    expect(readFileSync(path, 'utf8')).to.equal(textBefore)
    await first.close()
    writeFileSync(path, 'nonsense')
    const refused = await Holdfast.run(stage, args)
    const message = `holdfast: The fence file ${path} is not a fence file: use another path`
    // 78 is the exit code for an invalid setting.
    expect([refused.code, refused.err, refused.out]).to.deep.equal([78, [message], []])
  })

  it('can be used again after a broker that could not start', async () => {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, 'nonsense')
    expectUnavailable(() => broker(), /is not a fence file/)
    rmSync(path)
    await broker().close()
  })

  it('can be used again after a broker of this or another container has crashed', async () => {
    mkdirSync(dirname(path), { recursive: true })
    // A broker claims the file by a socket, whose name has the id of the network namespace. Another
    // container has another network namespace.
    const namespace = statSync('/proc/self/ns/net', { throwIfNoEntry: false })?.ino ?? 0
    for (const id of [namespace, namespace + 1]) {
      const server = createServer().listen(`${path}.${id}.lock`)
      await once(server, 'listening')
      // A crash leaves the file of the socket. `close` deletes the file only under its first name.
      renameSync(`${path}.${id}.lock`, `${path}.left`)
      server.close()
      await once(server, 'close')
      renameSync(`${path}.left`, `${path}.${id}.lock`)
    }
    const created = broker()
    // The broker has removed the socket of the other container. In this container, the broker has a
    // socket of its own.
    expect(
      readdirSync(dirname(path)).filter((name) => name.endsWith(`${namespace + 1}.lock`)),
    ).to.deep.equal([])
    await created.close()
  })

  it('is refused, and no descriptor stays open, while a broker of another container uses the file', async function () {
    if (process.platform !== 'linux') this.skip()
    mkdirSync(dirname(path), { recursive: true })
    const realFolder = realpathSync(dirname(path))
    /** The open descriptors of the folder of the file. */
    const folderDescriptors = () =>
      readdirSync('/proc/self/fd').filter((fd) => linkTarget(`/proc/self/fd/${fd}`) === realFolder)
    // The live socket of another network namespace, and thus of another container.
    const { ino } = statSync('/proc/self/ns/net')
    const server = createServer().listen(`${path}.${ino + 1}.lock`)
    await once(server, 'listening')
    expectUnavailable(() => broker(), /is in use by another broker/)
    expect(folderDescriptors()).to.deep.equal([])
    expect(readdirSync(dirname(path))).to.deep.equal([`fences.${ino + 1}.lock`])
    server.close()
    await once(server, 'close')
  })

  it('reserves no more fences for a broker after another broker has written to the file', () => {
    mkdirSync(dirname(path), { recursive: true })
    const fences = fileFences(path, now)
    const reserved = reservedIn(path)
    writeFileSync(path, `holdfast fences ${reserved + blockSize}\n`)
    expectUnavailable(() => fences.reserve(reserved + 1), /is in use by another broker/)
    expect(reservedIn(path)).to.equal(reserved + blockSize)
  })

  it('must not be a link, and the broker follows no links in the same folder', () => {
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

  it('must not be a pipe, on which reading would block', function () {
    if (process.platform === 'win32') this.skip()
    mkdirSync(dirname(path), { recursive: true })
    execFileSync('mkfifo', [path])
    expectUnavailable(() => broker(), /cannot be read/)
  })

  it('cannot be used by a second worker of a cluster', async () => {
    const cluster = fork(clustered, ['fenceFile', path])
    const outcomes: string[] = []
    cluster.on('message', (outcome: string) => outcomes.push(outcome))
    await exitOf(cluster)
    expect(outcomes.sort().map((outcome) => outcome.split(' ')[0])).to.deep.equal([
      'UNAVAILABLE',
      'started',
    ])
  })

  describe('in several containers', () => {
    needs('namespaces')

    it('cannot be used by a second broker', async () => {
      const first = broker()
      const wrapper = ['unshare', '--net', '--pid', '--fork']
      const args = ['serve', '--port', '0', '--fence-file', path]
      const { code, err } = await Holdfast.run(stage, args, { wrapper })
      expect({ code, err }).to.deep.equal({
        code: 78,
        err: [`holdfast: The fence file ${path} is in use by another broker: use another path`],
      })
      await first.close()
    })
  })
})

describe('fences: a broker that cannot reserve more fences', () => {
  const failure = new HoldfastError('UNAVAILABLE', 'The fence file f cannot be written.')

  /**
   * Makes `deps` for a broker whose fences can be reserved only up to `highest`. `reservations` and
   * `failures` list what the broker has tried and reported.
   */
  function limitedFences(highest: number) {
    const reservations: number[] = []
    const failures: HoldfastError[] = []
    const reserve = (upTo: number): void => {
      reservations.push(upTo)
      if (upTo > highest) throw failure
    }
    const onFailure = (error: HoldfastError) => failures.push(error)
    return { reservations, failures, deps: { fences: { floor: 0, reserve }, onFailure } }
  }

  it('grants nothing more, closes all connections, and reports the failure once', () => {
    const { reservations, failures, deps } = limitedFences(2)
    const harness = new BrokerHarness({}, deps)
    const [client, other] = [harness.openSession(), harness.openSession()]
    expect([client.acquire('k'), client.acquire('l')]).to.deep.equal([1, 2])
    const countBefore = reservations.length
    client.lock('m')
    expect(failures).to.deep.equal([failure])
    expect(client.takeMessages()).to.deep.equal([])
    for (const { socket } of [client, other]) {
      expect(socket.closedWith?.code).to.equal(closeCodes.internal.code)
      socket.drop()
    }
    expect(harness.broker.isServing).to.equal(false)
    expect(harness.connect().closedWith?.code).to.equal(closeCodes.restart.code)
    harness.environment.advance(600_000)
    expect(reservations.length, 'only the failed reservation').to.equal(countBefore + 1)
    expect([harness.broker.table.heldCount, failures.length]).to.deep.equal([2, 1])
  })

  it('ignores the commands that a slow command log applies after the failure', () => {
    const { failures, deps } = limitedFences(1)
    // The log applies submitted commands only when the test calls `deliver`.
    const { log, deliver } = slowLog()
    const harness = new BrokerHarness({}, { log, ...deps })
    deliver()
    const socket = harness.connectWithHello()
    deliver()
    harness.environment.endTurn()
    const client = harness.clientOn(socket)
    for (const key of ['k', 'l', 'm']) client.lock(key)
    deliver()
    harness.environment.endTurn()
    expect(client.takeMessages()).to.deep.equal([{ type: 'granted', id: 1, fence: 1 }])
    expect(client.socket.closedWith?.code).to.equal(closeCodes.internal.code)
    expect([harness.broker.table.heldCount, failures.length]).to.deep.equal([1, 1])
  })

  it('grants no fence above 2^53 - 1', () => {
    class NearlyUsedUpLog extends MemoryLog {
      override start(stateMachine: StateMachine): undefined {
        const fence = Number.MAX_SAFE_INTEGER - 2
        // Each step of the generator restores a part.
        for (const _ of stateMachine.restore([{ item: 'table', fence, quiet: false }]));
        return super.start(stateMachine)
      }
    }
    const failures: HoldfastError[] = []
    const harness = new BrokerHarness(
      {},
      {
        log: new NearlyUsedUpLog(),
        fences: clockFences(now),
        onFailure: (error) => failures.push(error),
      },
    )
    const client = harness.openSession()
    expect(client.acquire('k')).to.equal(Number.MAX_SAFE_INTEGER - 1)
    expect(client.acquire('l')).to.equal(Number.MAX_SAFE_INTEGER)
    client.lock('m')
    expect(failures.map(({ message }) => message).join()).to.contain('The fences are used up')
    expect(client.takeMessages()).to.deep.equal([])
  })

  it('does not start if it cannot reserve the first fences', () => {
    const { deps } = limitedFences(0)
    expect(() => new BrokerHarness({}, deps)).to.throw(failure)
  })
})
