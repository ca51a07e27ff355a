/**
 * Tests the commands of `holdfast` over two cells: independent brokers that each have a part of the
 * keys. Commands for one key use the cell of the key; the other commands use all cells. Keys with
 * the same tag (a text in braces) belong to one cell. The exit codes are 64 (wrong usage), 69 (no
 * broker answers) and 75 (the lock was not acquired).
 */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { cellOfSlot, slotOf } from '@holdfast/shared'
import { expect } from 'chai'
import type * as Connecting from '../../../server/src/cli/connecting.js'
import { expectRejection, Stage } from '../e2e/stage.js'
import { isFullRun } from '../support/counts.js'
import { type Ended, Holdfast, type StartOptions } from './command.js'

const cellCount = 2
/** No broker listens at these URLs. */
const [urlA, urlB] = ['ws://127.0.0.1:1', 'ws://127.0.0.1:2'] as const

/** Finds a key that belongs to this cell. The numbers of the cells begin with 1. */
function keyIn(cell: number): string {
  for (let i = 0; ; i++) {
    const key = `k${i}`
    if (cellOfSlot(slotOf(key), cellCount) === cell) return key
  }
}

const keys = [keyIn(1), keyIn(2)] as const

describe('holdfast over cells', () => {
  const stage = Stage.forEachTest()

  /** Starts the broker of each cell. `list` is the list of the cells for `--cells`. */
  async function startCells() {
    const cells = await Promise.all(
      [1, 2].map((cell) => stage.startBroker({ cell: `${cell}/${cellCount}` })),
    )
    return { cells, list: cells.map(({ url }) => url).join(';') }
  }

  const run = (list: string, args: readonly string[], options: StartOptions = {}) =>
    Holdfast.run(stage, args, { ...options, env: { HOLDFAST_CELLS: list, ...options.env } })

  /** Holds a lock on each of the two keys until the end of the test. */
  async function holdBothKeys(list: string): Promise<void> {
    for (const key of keys) {
      const args = ['hold', '--cells', list, '--name', `holder of ${key}`, key]
      await Holdfast.start(stage, args, { keepStdinOpen: true }).out.waitForCount(1)
    }
  }

  it('runs commands for a key in the cell of the key', async () => {
    const { cells, list } = await startCells()
    for (const [i, key] of keys.entries()) {
      // A quick run tests only the second cell, because a client that ignores the cell of the key
      // would use the first.
      if (!isFullRun && i === 0) continue
      const { code, out } = await run(list, ['run', key, '--', 'sh', '-c', 'echo $HOLDFAST_KEY'])
      expect([code, out]).to.deep.equal([0, [key]])
      expect((await run(list, ['elect', key, 'true'])).code).to.equal(0)
      const { out: outputOfOnce } = await run(list, ['once', '--keep', '1m', key, 'echo', 'built'])
      expect(outputOfOnce).to.deep.equal(['built'])
      // Each of the three commands has acquired one lock. `totalLocks` never falls, so a full run
      // still counts the locks of the first cell when it tests the second cell.
      const grants = cells.map(({ broker }) => broker.stats().totalLocks)
      expect(grants).to.deep.equal(i === 0 ? [3, 0] : [isFullRun ? 3 : 0, 3])
    }
  })

  it('excludes a second holder, shows and revokes the lock, for a key of either cell', async () => {
    const { cells, list } = await startCells()
    await holdBothKeys(list)
    for (const [i, key] of keys.entries()) {
      const refused = await run(list, ['run', '--try', key, 'true'])
      expect(refused.code).to.equal(75)
      expect(refused.err[0]).to.match(new RegExp(`^holdfast: ${key} is held by holder of ${key} `))
      const shown = await run(list, ['show', '--json', key])
      const { held } = JSON.parse(shown.out[0]!)
      const fence = String(held[0].fence)
      const revoked = await run(list, ['unlock', key, '--fence', fence, '--reason', 'test'])
      expect(revoked.code, revoked.err.join()).to.equal(0)
      expect(cells[i]!.broker.query().heldCount).to.equal(0)
    }
  })

  it('lists, counts and watches the keys of all cells', async () => {
    const { list } = await startCells()
    await holdBothKeys(list)
    const listed = await run(list, ['ls', '--all', '--json'])
    expect(listed.out.map((line) => JSON.parse(line).key)).to.deep.equal([...keys].sort())
    const counted = await run(list, ['stats', '--json'])
    expect(JSON.parse(counted.out[0]!).activeLocks).to.equal(2)
    const top = await run(list, ['top', '--json', '--count', '1'])
    const { heldCount, isWhole } = JSON.parse(top.out[0]!)
    expect([heldCount, isWhole]).to.deep.equal([2, true])
    const watch = Holdfast.start(stage, ['watch', '--cells', list])
    // The command prints a count and one held lock for each of the two cells. A line begins with
    // the time.
    const lines = (await watch.out.waitForCount(4)).map((line) => line.replace(/^\S+ /, ''))
    expect(lines.filter((line) => line.startsWith('1 held')).sort()).to.deep.equal([
      '1 held in cell 1',
      '1 held in cell 2',
    ])
    watch.process.kill('SIGTERM')
    expect((await watch.ended()).code).to.equal(0)
  })

  it('pings each cell, and spreads the sessions of bench over the cells', async () => {
    const { cells, list } = await startCells()
    const pinged = await run(list, ['ping', '--count', '2', '--json'])
    const answers = pinged.out.map((line) => JSON.parse(line))
    expect(answers.map(({ cell, n, url }) => [cell, n, url])).to.deep.equal([
      [1, 1, cells[0]!.url],
      [2, 1, cells[1]!.url],
      [1, 2, cells[0]!.url],
      [2, 2, cells[1]!.url],
    ])
    // With 32 sessions, each cell gets some of the sessions.
    const args = ['bench', '--json', '--sessions', '32', '--time', '200ms']
    const { out } = await run(list, args)
    const report = JSON.parse(out[0]!)
    const grants = cells.map(({ broker }) => broker.stats().totalLocks)
    expect(report).to.include({ url: list, cells: 2, cycles: grants[0]! + grants[1]! })
    expect(Math.min(...grants)).to.be.greaterThan(0)
    // With --contended, all sessions lock one key, so the report names only its cell.
    const contended = await run(list, [...args, '--contended'])
    const { url, cells: reportedCellCount } = JSON.parse(contended.out[0]!)
    expect(cells.map((cell) => cell.url)).to.include(url)
    expect(reportedCellCount).to.equal(1)
  })

  it('opens no session in a cell if the signal is aborted already', async () => {
    // No command gives `connectTo` both the number of a cell and a signal, so the test calls this
    // function of the commands itself.
    const file = new URL('./cli/connecting.js', import.meta.resolve('@holdfast/server')).href
    const { connectTo } = (await import(file)) as typeof Connecting
    const options = { signal: AbortSignal.abort() }
    for (const choice of [{ cell: 1 }, { key: 'k' }]) {
      await expectRejection(connectTo({ cells: urlA }, choice, options), 'ABORTED')
    }
  })

  it('locks a set whose keys have the same tag, and refuses another set with exit code 64', async () => {
    const { list } = await startCells()
    const withOneTag = await run(list, ['run', '--also', '{t}b', '{t}a', 'true'])
    expect(withOneTag.code, withOneTag.err.join()).to.equal(0)
    expect(await run(list, ['run', '--also', keys[1], keys[0], 'true'])).to.deep.include({
      code: 64,
      err: [
        `holdfast: The keys ${keys[0]} and ${keys[1]} may be in different cells: give all keys of ` +
          'the lock the same tag, such as {order:42}',
      ],
    })
  })

  it('prefers --url to HOLDFAST_CELLS, and --cells to both environment variables', async () => {
    const { cells, list } = await startCells()
    await holdBothKeys(list)
    // No broker listens at `urlA`, so a command that used one of the variables would fail.
    const fromUrl = await run(urlA, ['ls', '--json', '--url', cells[0]!.url])
    expect(fromUrl.out.map((line) => JSON.parse(line).key)).to.deep.equal([keys[0]])
    const env = { HOLDFAST_URL: urlA }
    // A list may have spaces around its URLs.
    const listWithSpaces = ` ${list.replace(';', ' ; ')} `
    const fromCells = await run(urlA, ['ls', '--json', '--cells', listWithSpaces], {
      env,
    })
    expect([fromCells.code, fromCells.out.length]).to.deep.equal([0, 2])
  })

  const wrongLists: readonly [problem: string, list: string, message: string][] = [
    ['an empty text', '', 'has an empty URL in cell 1: write "URL,URL;URL,URL"'],
    ['a cell without a URL', `${urlA};`, 'has an empty URL in cell 2: write "URL,URL;URL,URL"'],
    ['an empty URL', `${urlA},,${urlB}`, 'has an empty URL in cell 1: write "URL,URL;URL,URL"'],
    ['another scheme', `${urlA};http://h`, 'has "http://h" in cell 2: a URL begins with ws:// or'],
    ['a text that is no URL', `${urlA};ws://`, 'has "ws://" in cell 2: a URL begins with ws:// or'],
    // Error messages hide the fragment of a URL, because it may contain a secret.
    ['a fragment', `${urlA}#x`, `has "${urlA}#***" in cell 1: a URL begins with ws:// or`],
    ['a URL in two cells', `${urlA};${urlB},${urlA}`, `has ${urlA} in cell 1 and in cell 2`],
    ['too many cells', Array(1_025).fill(urlA).join(';'), 'has 1025 cells: the maximum is 1024'],
  ]

  it('refuses a wrong list with one sentence and exit code 64', async () => {
    await Promise.all(
      wrongLists.map(async ([problem, list, message]) => {
        const { code, out, err } = await Holdfast.run(stage, ['ls', '--cells', list])
        expect([code, out, err.length], problem).to.deep.equal([64, [], 1])
        const start = `holdfast: The list of cells in --cells ${message}`
        expect(err[0]!.slice(0, start.length), problem).to.equal(start)
      }),
    )
    const { code, err } = await run(`${urlA};`, ['run', 'k', 'true'])
    const startForVariable = 'holdfast: The list of cells in HOLDFAST_CELLS has'
    expect([code, err[0]?.slice(0, startForVariable.length)]).to.deep.equal([64, startForVariable])
  })

  it('refuses a list of cells together with a URL, with exit code 64', async () => {
    const expectRefused = ({ code, err }: Ended, message: RegExp) => {
      expect([code, err.length]).to.deep.equal([64, 1])
      expect(err[0]).to.match(message)
    }
    expectRefused(
      await Holdfast.run(stage, ['ls', '--cells', urlA, '--url', urlB]),
      /Both a URL and --cells are given: /,
    )
    expectRefused(
      await Holdfast.run(stage, ['bench', urlB, '--cells', urlA]),
      /Both a URL and --cells are given: /,
    )
    expectRefused(
      await run(urlA, ['run', 'k', 'true'], { env: { HOLDFAST_URL: urlB } }),
      /Both HOLDFAST_URL and HOLDFAST_CELLS are set: /,
    )
  })

  it('exits 64 if the list has the cells in another order, or too few or too many cells', async () => {
    const { cells, list } = await startCells()
    const [first, second] = cells.map(({ url }) => url)
    const expectRefused = async (wrongList: string, args: readonly string[]) => {
      const { code, out, err } = await run(wrongList, args)
      expect([code, out, err.length], args.join(' ')).to.deep.equal([64, [], 1])
      expect(err[0]).to.match(/wrong cell: .*check the order and the number of the cells/)
    }
    await expectRefused(`${second};${first}`, ['ls'])
    await expectRefused(`${second};${first}`, ['run', '--try', keys[0], 'true'])
    await expectRefused(`${second};${first}`, ['ping'])
    await expectRefused(`${first}`, ['watch'])
    await expectRefused(`${list};${urlA}`, ['hold', 'a'])
  })

  it('runs a command although another cell is unreachable, and exits 69 if the command needs that cell', async () => {
    const { cells } = await startCells()
    const list = `${cells[0]!.url};${urlA}`
    const listed = await run(list, ['ls'])
    expect([listed.code, listed.out, listed.err.length]).to.deep.equal([69, [], 1])
    expect(listed.err[0]).to.contain(urlA)
    const inReachableCell = await run(list, ['run', keys[0], 'true'])
    expect(inReachableCell.code, inReachableCell.err.join()).to.equal(0)
    const inOtherCell = await run(list, ['run', keys[1], 'true'])
    expect([inOtherCell.code, inOtherCell.out, inOtherCell.err.length]).to.deep.equal([69, [], 1])
    expect(inOtherCell.err[0]).to.contain(urlA)
  })

  it('names only the brokers of the cell of the key if none of them answers in time', async () => {
    // A server that accepts connections and never answers.
    const silentServer = createServer().listen(0, '127.0.0.1')
    stage.onCleanUp(() => silentServer.close())
    await once(silentServer, 'listening')
    const url = `ws://127.0.0.1:${(silentServer.address() as AddressInfo).port}`
    const args = ['run', '--timeout', '50ms', keys[1], 'true']
    expect(await run(`${urlB};${url}`, args)).to.deep.include({
      code: 75,
      err: [`holdfast: No broker answered within 50ms (--timeout) at ${url}`],
    })
  })

  it('ignores HOLDFAST_CELLS in the command serve', async () => {
    const { code, err } = await run(urlA, ['serve', '--check'])
    expect([code, err]).to.deep.equal([0, []])
  })
})
