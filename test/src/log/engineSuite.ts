/**
 * The common test suite of all engines. An engine stores the entries of a shared command log, which
 * orders all changes of the lock table. All readers must get each stored entry once, and in the
 * same order. The engine must also store one configuration and whole snapshots, and remove old
 * entries (compaction).
 */
import { randomBytes } from 'node:crypto'
import type { Engine } from '@holdfast/server/internal'
import { expect } from 'chai'
import { expectRejection } from '../e2e/stage.js'
import { quickOrFull } from '../support/counts.js'
import { logConfig, Reader } from './etcdStage.js'

/** Makes engines. The engines of one test share one log. */
export interface EngineStage {
  /** An engine that the test must open. */
  newEngine(): Engine
  /** An open engine with the usual configuration. */
  openEngine(): Promise<Engine>
}

/** @param makeStage Called once, inside the suite, so that it may register hooks. */
export function engineSuite(name: string, makeStage: () => EngineStage): void {
  describe(`log: the engine ${name}`, function () {
    this.timeout(60_000)
    const stage = makeStage()
    testOrdering(stage)
    testSnapshots(stage)
    testCompaction(stage)
  })
}

/** Appends entries one after another. The slot is the id of the broker that writes the entries. */
async function appendAll(engine: Engine, slot: string, entries: readonly string[]) {
  for (const entry of entries) await engine.append(slot, entry)
}

/** The parts of the newest snapshot; undefined if there is none. */
export async function partsOf(engine: Engine): Promise<string[] | undefined> {
  const snapshot = await engine.snapshot()
  if (snapshot === undefined) return undefined
  const parts: string[] = []
  for await (const part of snapshot.parts) parts.push(part)
  return parts
}

function testOrdering(stage: EngineStage): void {
  it('delivers each entry once and in the same order to all readers', async () => {
    const engines = await Promise.all([1, 2, 3].map(() => stage.openEngine()))
    const readers = engines.map((engine) => {
      const reader = new Reader()
      engine.follow(0, reader)
      return reader
    })
    const entriesPerEngine = quickOrFull(50, 500)
    const written = engines.map((_, i) =>
      Array.from({ length: entriesPerEngine }, (_, n) => `${i}:${n}`),
    )
    await Promise.all(engines.map((engine, i) => appendAll(engine, `b${i}`, written[i]!)))
    const hasAllTexts = (entries: readonly (readonly [number, string])[]): boolean =>
      new Set(entries.map(([, text]) => text)).size === engines.length * entriesPerEngine
    for (const { entries } of readers) await entries.waitUntil(hasAllTexts)
    // If etcd answers too late, its engine stores a second copy of an entry. One reader may have
    // this copy earlier than another reader, so the test compares only what all readers have.
    const commonCount = Math.min(...readers.map(({ entries }) => entries.items.length))
    const [first, ...others] = readers.map(({ entries }) => entries.items.slice(0, commonCount))
    for (const other of others) expect(other).to.deep.equal(first)
    const positions = first!.map(([position]) => position)
    expect(positions).to.deep.equal([...new Set(positions)].sort((a, b) => a - b))
    const texts = [...new Set(first!.map(([, text]) => text))]
    for (const [i, ownTexts] of written.entries()) {
      expect(texts.filter((text) => text.startsWith(`${i}:`))).to.deep.equal(ownTexts)
    }
  })

  it('delivers nothing before follow has returned, and nothing after stop', async () => {
    const engine = await stage.openEngine()
    await engine.append('b', 'one')
    const reader = new Reader()
    const { stop } = engine.follow(0, reader)
    expect(reader.texts).to.deep.equal([])
    await reader.entries.waitForCount(1)
    // The first reader must not get the second entry.
    stop()
    await engine.append('b', 'two')
    const other = new Reader()
    engine.follow(0, other)
    await other.entries.waitForCount(2)
    expect(reader.texts).to.deep.equal(['one'])
  })

  it('delivers the entries after any position, with any text', async () => {
    const engine = await stage.openEngine()
    // The texts are short, very long, empty, not ASCII, or begin with a NUL character.
    const texts = [
      '{}',
      '"ключ \u{1f512}\\n"',
      'x'.repeat(700_000),
      '',
      '\0',
      `\0${'ключ'.repeat(9_999)}`,
    ]
    await appendAll(engine, 'b', texts)
    const fullReader = new Reader()
    engine.follow(0, fullReader)
    await fullReader.entries.waitForCount(texts.length)
    expect(fullReader.texts).to.deep.equal(texts)
    for (const [i, [position]] of fullReader.entries.items.entries()) {
      const laterReader = new Reader()
      engine.follow(position, laterReader)
      await laterReader.entries.waitForCount(texts.length - 1 - i)
      expect(laterReader.texts).to.deep.equal(texts.slice(i + 1))
    }
  })

  it('catches up with a history of many megabytes', async () => {
    const engine = await stage.openEngine()
    // Random text can hardly be compressed, so the history stays long in the storage.
    const entries = Array.from({ length: quickOrFull(80, 200) }, () =>
      randomBytes(150_000).toString('base64'),
    )
    await appendAll(engine, 'b', entries)
    const reader = new Reader()
    engine.follow(0, reader)
    await reader.entries.waitForCount(entries.length)
    // The messages of other assertions would contain the long texts.
    for (const [i, text] of reader.texts.entries()) expect(text === entries[i]).to.equal(true)
  })

  it('stores the configuration of the first broker, and refuses other configurations', async () => {
    // A broker is declared dead after `deadMs` without a heartbeat.
    const engines = Array.from({ length: 5 }, () => stage.newEngine())
    const deadTimes = engines.map((_, i) => logConfig.deadMs + i)
    const results = await Promise.allSettled(
      engines.map((engine, i) => engine.open({ ...logConfig, deadMs: deadTimes[i]! })),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).to.have.length(1)
    const storedDeadMs = deadTimes[results.findIndex(({ status }) => status === 'fulfilled')]!
    for (const result of results) {
      if (result.status === 'fulfilled') continue
      const { message } = await expectRejection(Promise.reject(result.reason), 'INVALID_OPTION')
      expect(message).to.match(
        new RegExp(
          `has a log with a dead time of ${storedDeadMs} ms, not \\d+ ms: set deadMs to the dead time of the log$`,
        ),
      )
    }
    await stage.newEngine().open({ ...logConfig, deadMs: storedDeadMs })
  })
}

function testSnapshots(stage: EngineStage): void {
  it('stores the newest snapshot, of any size', async () => {
    const engine = await stage.openEngine()
    expect(await partsOf(engine)).to.equal(undefined)
    expect(await engine.saveSnapshot(10, [])).to.equal(true)
    expect(await partsOf(engine)).to.deep.equal([])
    const parts = Array.from(
      { length: 40 },
      (_, i) => `${i} ключ ${'\u{1f512}x'.repeat(i * 4_000)}`,
    )
    expect(await engine.saveSnapshot(20, parts)).to.equal(true)
    expect((await (await stage.openEngine()).snapshot())?.position).to.equal(20)
    expect(await partsOf(engine)).to.deep.equal(parts)
    expect(await engine.saveSnapshot(20, ['same position'])).to.equal(false)
    expect(await engine.saveSnapshot(19, ['older position'])).to.equal(false)
    expect(await partsOf(engine)).to.deep.equal(parts)
  })

  it('stores only one of several snapshots of the same position', async () => {
    const engines = await Promise.all([1, 2, 3, 4].map(() => stage.openEngine()))
    const saved = await Promise.all(engines.map((engine, i) => engine.saveSnapshot(7, [`${i}`])))
    expect(saved.filter((isStored) => isStored)).to.have.length(1)
    expect(await partsOf(engines[0]!)).to.deep.equal([`${saved.indexOf(true)}`])
  })

  it('stores the snapshot with the later position, if two snapshots are saved at the same time', async () => {
    const engines = await Promise.all([1, 2].map(() => stage.openEngine()))
    const race = [engines[0]!.saveSnapshot(8, ['8']), engines[1]!.saveSnapshot(9, ['9'])]
    expect((await Promise.all(race))[1]).to.equal(true)
    expect(await partsOf(engines[0]!)).to.deep.equal(['9'])
  })
}

function testCompaction(stage: EngineStage): void {
  it('removes old entries, but keeps the newest snapshot and the entries after the previous snapshot', async () => {
    const engine = await stage.openEngine()
    await appendAll(engine, 'dead', ['a'])
    await appendAll(engine, 'living', ['b', 'c', 'd'])
    const reader = new Reader()
    engine.follow(0, reader)
    await reader.entries.waitForCount(4)
    const [, b, c] = reader.entries.items.map(([position]) => position) as [number, number, number]
    // There are three snapshots. The compaction may drop the oldest one, at b - 1.
    for (const position of [b - 1, b, c]) await engine.saveSnapshot(position, [`up to ${position}`])
    expect((await engine.snapshot())?.position).to.equal(c)
    // The second argument has the ids of the live brokers.
    await engine.compact(b, ['living'])
    expect(await partsOf(engine)).to.deep.equal([`up to ${c}`])
    const readerAfterB = new Reader()
    engine.follow(b, readerAfterB)
    await readerAfterB.entries.waitForCount(2)
    expect(readerAfterB.texts).to.deep.equal(['c', 'd'])
    const readerFromStart = new Reader()
    engine.follow(0, readerFromStart)
    expect(await readerFromStart.ends.waitForCount(1)).to.deep.equal(['compacted'])
    expect(readerFromStart.texts).to.deep.equal([])
    // Several brokers may compact again, at the same time.
    await Promise.all([engine.compact(b, ['living']), engine.compact(c, ['living'])])
    await engine.append('living', 'e')
    await reader.entries.waitForCount(5)
    expect(reader.texts).to.deep.equal(['a', 'b', 'c', 'd', 'e'])
  })

  it('reports from which position the log can be followed', async () => {
    const engine = await stage.openEngine()
    const reader = new Reader()
    engine.follow(0, reader)
    for (const text of ['a', 'b', 'c']) await engine.append('slot', text)
    const entries = await reader.entries.waitForCount(3)
    const [a, b, c] = entries.map(([position]) => position) as [number, number, number]
    const canReplay = () =>
      Promise.all([0, a, b, c].map((position) => engine.canReplayFrom(position)))
    expect(await canReplay()).to.deep.equal([true, true, true, true])
    await engine.compact(c, ['slot'])
    const [fromStart, fromA, , fromC] = await canReplay()
    // The result for b is not checked: it depends on c, which an engine may keep or remove.
    expect([fromStart, fromA, fromC]).to.deep.equal([false, false, true])
  })

  it('delivers every entry while entries that the follower has read are compacted', async () => {
    const [writer, follower] = await Promise.all([stage.openEngine(), stage.openEngine()])
    const reader = new Reader()
    follower!.follow(0, reader)
    const total = quickOrFull(100, 1_000)
    // The entries of three brokers, by turns.
    for (let i = 0; i < total; i++) {
      await writer!.append(`b${i % 3}`, `${i}`)
      // After every tenth entry, compacts up to an entry that the reader has already. The reader
      // may still lack the newest five entries.
      if (i % 10 !== 9) continue
      await reader.entries.waitForCount(i - 4)
      const [position] = reader.entries.items[i - 6]!
      // The engine may forget b1 and b2, because only b0 counts as live. The reader must still get
      // their entries.
      await writer!.compact(position, ['b0'])
    }
    await reader.entries.waitForCount(total)
    expect(reader.texts).to.deep.equal(Array.from({ length: total }, (_, i) => `${i}`))
    expect(reader.ends.items).to.deep.equal([])
  })
}
