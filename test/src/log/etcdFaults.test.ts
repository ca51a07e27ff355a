/**
 * Tests the engine that stores a shared command log on etcd, when etcd or its connections fail. The
 * log orders all changes of the lock table. The tests kill and pause members of etcd, and break or
 * silence connections. All readers must still get the same entries in the same order, without gaps.
 * An entry may occur twice if a writer has appended the entry again.
 */
import type { EtcdEngine } from '@holdfast/server/internal'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { type Filter, TcpProxy } from '../faults/proxy.js'
import { Valve } from '../faults/valve.js'
import { quickOrFull, runRandomTest } from '../support/counts.js'
import type { EtcdMember } from '../support/etcd.js'
import { EtcdStage, Reader } from './etcdStage.js'

describe('log: the engine on a failing etcd', function () {
  this.timeout(120_000)
  const etcd = EtcdStage.forSuite()
  const stage = Stage.forEachTest()

  /**
   * Appends one entry after another to its slot (its own key in etcd), as a broker does. A writer
   * appends an entry again until the engine confirms the entry.
   */
  class Writer {
    readonly #engine: EtcdEngine
    readonly #slot: string
    #count = 0

    constructor(engine: EtcdEngine, slot: string) {
      this.#engine = engine
      this.#slot = slot
    }

    async write(entryCount: number): Promise<void> {
      for (const end = this.#count + entryCount; this.#count < end; this.#count++) {
        while (!(await this.#append(`${this.#slot}:${this.#count}`)));
      }
    }

    /** The entries that the engine has confirmed, in order. */
    get written(): string[] {
      return Array.from({ length: this.#count }, (_, i) => `${this.#slot}:${i}`)
    }

    /** @returns whether the engine has confirmed the entry */
    #append(entry: string): Promise<boolean> {
      return this.#engine.append(this.#slot, entry).then(
        () => true,
        () => false,
      )
    }
  }

  /** Starts engines, each with a writer and a reader. */
  async function startWritersAndReaders(
    engineCount: number,
    endpoints = etcd.cluster.endpoints,
    slotPrefix = 'b',
  ) {
    const engines = await Promise.all(
      // Each engine first connects to a different one of the three members.
      Array.from({ length: engineCount }, (_, i) =>
        etcd.openEngine({ endpoints: [...endpoints.slice(i % 3), ...endpoints.slice(0, i % 3)] }),
      ),
    )
    const readers = engines.map((engine) => {
      const reader = new Reader()
      engine.follow(0, reader)
      return reader
    })
    return {
      engines,
      readers,
      writers: engines.map((engine, i) => new Writer(engine, `${slotPrefix}${i}`)),
    }
  }

  /**
   * Checks that all readers have the same entries in the same order. The entries of each writer
   * must be in the order in which the writer appended them.
   */
  async function checkReaders({
    readers,
    writers,
  }: Awaited<ReturnType<typeof startWritersAndReaders>>): Promise<void> {
    // Each writer appends one last entry. A reader that has this entry has all earlier entries of
    // the writer too.
    for (const writer of writers) await writer.write(1)
    const lastTexts = writers.map(({ written }) => written.at(-1)!)
    for (const reader of readers) {
      await reader.entries.waitUntil(() => lastTexts.every((text) => reader.texts.includes(text)))
    }
    // A member that was paused may complete an append only now, so that not every reader has this
    // entry. So the test compares only as many entries as every reader has.
    const length = Math.min(...readers.map(({ entries }) => entries.items.length))
    const [first, ...others] = readers.map(({ entries }) => entries.items.slice(0, length))
    for (const other of others) expect(other).to.deep.equal(first)
    for (const { written } of writers) {
      // The slot of the writer and a colon, such as `b0:`.
      const prefix = written[0]!.slice(0, 3)
      for (const reader of readers) {
        const ownEntries = reader.texts.filter((text) => text.startsWith(prefix))
        // The set drops the second copy of an entry that the writer has appended again.
        expect([...new Set(ownEntries)]).to.deep.equal(written)
      }
    }
  }

  const targets: [string, () => Promise<EtcdMember>][] = [
    ['the leader', () => etcd.cluster.leader()],
    ['a follower', () => etcd.cluster.follower()],
  ]
  for (const [name, findMember] of targets) {
    it(`continues while ${name} is killed and restarted`, async () => {
      const group = await startWritersAndReaders(3)
      for (let round = 0; round < quickOrFull(1, 5); round++) {
        await Promise.all(group.writers.map((writer) => writer.write(20)))
        const member = await findMember()
        const writing = group.writers.map((writer) => writer.write(100))
        await member.kill()
        await Promise.all(writing)
        await member.start()
        await checkReaders(group)
      }
    })

    it(`continues while ${name} is paused and resumed`, async () => {
      const group = await startWritersAndReaders(3)
      for (let round = 0; round < quickOrFull(1, 5); round++) {
        await Promise.all(group.writers.map((writer) => writer.write(20)))
        const member = await findMember()
        const writing = group.writers.map((writer) => writer.write(100))
        member.freeze()
        await Promise.all(writing)
        const moreWriting = group.writers.map((writer) => writer.write(50))
        member.thaw()
        await Promise.all(moreWriting)
        await checkReaders(group)
      }
    })
  }

  it('continues after all members were killed', async () => {
    const group = await startWritersAndReaders(2)
    await Promise.all(group.writers.map((writer) => writer.write(20)))
    const { members } = etcd.cluster
    const writing = group.writers.map((writer) => writer.write(50))
    await Promise.all(members.map((member) => member.kill()))
    await Promise.all(members.map((member) => member.start()))
    await Promise.all(writing)
    await checkReaders(group)
  })

  /** Starts a proxy in front of each member, with these filters for each connection. */
  async function startProxies(filters: () => { up?: Filter; down?: Filter } = () => ({})) {
    const proxies = await Promise.all(
      etcd.cluster.endpoints.map((endpoint) =>
        TcpProxy.to(Number(new URL(endpoint).port), filters),
      ),
    )
    stage.onCleanUp(() => Promise.all(proxies.map((proxy) => proxy.close())))
    return { proxies, endpoints: proxies.map(({ url }) => url.replace('ws:', 'http:')) }
  }

  it('delivers the entries in order, and no position twice, if connections break at any byte', async () => {
    await runRandomTest(async (random) => {
      // All connections together pass 2,000 bytes before the first cut. Later they pass at least
      // 500 bytes between two cuts, so that the engine makes progress. A cut may be inside a line,
      // a header or a chunk.
      let bytesUntilCut = 2_000
      const down: Filter = (bytes, connection) => {
        bytesUntilCut -= bytes.length
        if (bytesUntilCut > 0) return connection.pass(bytes)
        connection.pass(bytes.subarray(0, random.below(bytes.length)))
        bytesUntilCut = 500 + random.below(4_000)
        connection.cut()
      }
      const { endpoints } = await startProxies(() => ({ down }))
      const group = await startWritersAndReaders(2, endpoints)
      // This group connects without a proxy.
      const undisturbedGroup = await startWritersAndReaders(1, undefined, 'q')
      const writers = [...group.writers, ...undisturbedGroup.writers]
      await Promise.all(
        undisturbedGroup.writers.map((writer) => writer.write(quickOrFull(200, 2_000))),
      )
      await Promise.all(group.writers.map((writer) => writer.write(quickOrFull(50, 500))))
      bytesUntilCut = Number.POSITIVE_INFINITY
      await checkReaders({
        ...group,
        readers: [...group.readers, ...undisturbedGroup.readers],
        writers,
      })
      for (const { entries } of group.readers) {
        const positions = entries.items.map(([position]) => position)
        expect(positions).to.deep.equal([...new Set(positions)].sort((a, b) => a - b))
      }
    })
  })

  it('appends an entry again after a lost answer, and delivers both copies', async () => {
    let losesNextAnswer = false
    const down: Filter = (bytes, connection) => {
      // The answer to an append has a revision.
      if (!losesNextAnswer || !bytes.includes('revision')) return connection.pass(bytes)
      losesNextAnswer = false
      connection.cut()
    }
    const { endpoints } = await startProxies(() => ({ down }))
    const engine = await etcd.openEngine({ endpoints })
    await engine.append('b', 'before')
    losesNextAnswer = true
    await engine.append('b', 'again')
    await engine.append('b', 'after')
    const reader = new Reader()
    engine.follow(0, reader)
    await reader.entries.waitForCount(4)
    expect(reader.texts).to.deep.equal(['before', 'again', 'again', 'after'])
  })

  it('connects again if its watch is silent, although appends still work', async () => {
    const valve = new Valve()
    const watchConnections = new Set<number>()
    const { endpoints, proxies } = await startProxies(() => ({
      up: (bytes, connection) => {
        if (bytes.includes('/v3/watch')) watchConnections.add(connection.index)
        connection.pass(bytes)
      },
      down: (bytes, connection) => {
        if (watchConnections.has(connection.index)) valve.filter(bytes, connection)
        else connection.pass(bytes)
      },
    }))
    const [engine] = (await startWritersAndReaders(1, endpoints)).engines
    const reader = new Reader()
    // This reader is the second, because `startWritersAndReaders` has started a reader too.
    engine!.follow(0, reader)
    await engine!.append('b', 'one')
    await reader.entries.waitForCount(1)
    valve.shut()
    await engine!.append('b', 'two')
    // Waits until the engine connects again.
    await Promise.race(proxies.map((proxy) => proxy.nextConnection()))
    valve.open()
    await reader.entries.waitForCount(2)
    await engine!.append('b', 'three')
    await reader.entries.waitForCount(3)
    expect(reader.texts).to.deep.equal(['one', 'two', 'three'])
  })

  it('saves a snapshot while the leader changes', async () => {
    const engine = await etcd.openEngine()
    const member = await etcd.cluster.leader()
    member.freeze()
    // A real snapshot has the lock table as it was after one entry; this text stands for a table.
    const parts = Array.from({ length: 50 }, (_, i) => `${i}${'x'.repeat(50_000)}`)
    // The first attempt may fail because the leader is paused. Even a failed attempt may store the
    // snapshot at position 5, so the second attempt takes position 6.
    let isSaved = await engine.saveSnapshot(5, parts).catch(() => undefined)
    isSaved ??= await engine.saveSnapshot(6, parts)
    expect(isSaved).to.equal(true)
    member.thaw()
    const snapshot = (await engine.snapshot())!
    const readParts: string[] = []
    for await (const part of snapshot.parts) readParts.push(part)
    expect(readParts.length).to.equal(parts.length)
    // A compaction must work too. The list of live slots is empty, so the compaction removes all
    // slots. With the position 0, etcd keeps its history.
    await engine.compact(0, [])
  })
})
