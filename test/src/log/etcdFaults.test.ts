/**
 * The engine on etcd while members are killed and paused, and while connections break, stall or
 * lose an answer. All readers must still get the same entries in the same order, without gaps. An
 * entry that was appended again may occur twice, which readers must ignore.
 */
import type { EtcdEngine } from '@holdfast/server/internal'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { type Filter, TcpProxy } from '../faults/proxy.js'
import { Valve } from '../faults/valve.js'
import { count, seeded } from '../support/counts.js'
import type { EtcdMember } from '../support/etcd.js'
import { EtcdStage, Reader } from './etcdStage.js'

describe('log: the engine on a failing etcd', function () {
  this.timeout(120_000)
  const etcd = EtcdStage.forSuite()
  const stage = Stage.forEachTest()

  /**
   * Appends entries as a broker does: one after another, each until it is known to be in the log.
   */
  class Writer {
    readonly #engine: EtcdEngine
    readonly #slot: string
    #count = 0
    failures = 0

    constructor(engine: EtcdEngine, slot: string) {
      this.#engine = engine
      this.#slot = slot
    }

    async write(entries: number): Promise<void> {
      for (const end = this.#count + entries; this.#count < end; this.#count++) {
        while (!(await this.#isIn(`${this.#slot}:${this.#count}`))) this.failures++
      }
    }

    get written(): string[] {
      return Array.from({ length: this.#count }, (_, i) => `${this.#slot}:${i}`)
    }

    #isIn(entry: string): Promise<boolean> {
      return this.#engine.append(this.#slot, entry).then(
        () => true,
        () => false,
      )
    }
  }

  /** Writers, and readers with engines of their own. */
  async function startWritersAndReaders(
    size: number,
    endpoints = etcd.cluster.endpoints,
    name = 'b',
  ) {
    const engines = await Promise.all(
      // Each engine begins at another member.
      Array.from({ length: size }, (_, i) =>
        etcd.opened({ endpoints: [...endpoints.slice(i % 3), ...endpoints.slice(0, i % 3)] }),
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
      writers: engines.map((engine, i) => new Writer(engine, `${name}${i}`)),
    }
  }

  /**
   * Checks that all readers have the same entries in one order, and each writer's in its own order.
   */
  async function check({
    readers,
    writers,
  }: Awaited<ReturnType<typeof startWritersAndReaders>>): Promise<void> {
    for (const writer of writers) await writer.write(1)
    const last = writers.map(({ written }) => written.at(-1)!)
    for (const reader of readers) {
      await reader.entries.until(() => last.every((text) => reader.texts.includes(text)))
    }
    // An entry that is under way at a paused member may still arrive, at all readers.
    const length = Math.min(...readers.map(({ entries }) => entries.items.length))
    const [first, ...others] = readers.map(({ entries }) => entries.items.slice(0, length))
    for (const other of others) expect(other).to.deep.equal(first)
    for (const { written } of writers) {
      const slot = written[0]!.slice(0, 3)
      for (const reader of readers) {
        const own = reader.texts.filter((text) => text.startsWith(slot))
        expect([...new Set(own)]).to.deep.equal(written)
      }
    }
  }

  const victims: [string, () => Promise<EtcdMember>][] = [
    ['the leader', () => etcd.cluster.leader()],
    ['a follower', () => etcd.cluster.follower()],
  ]
  for (const [name, find] of victims) {
    it(`continues while ${name} is killed and restarted`, async () => {
      const all = await startWritersAndReaders(3)
      for (let round = 0; round < count(1, 5); round++) {
        await Promise.all(all.writers.map((writer) => writer.write(20)))
        const victim = await find()
        const writing = all.writers.map((writer) => writer.write(100))
        await victim.kill()
        await Promise.all(writing)
        await victim.start()
        await check(all)
      }
    })

    it(`continues while ${name} is paused and resumed`, async () => {
      const all = await startWritersAndReaders(3)
      for (let round = 0; round < count(1, 5); round++) {
        await Promise.all(all.writers.map((writer) => writer.write(20)))
        const victim = await find()
        const writing = all.writers.map((writer) => writer.write(100))
        victim.freeze()
        await Promise.all(writing)
        const more = all.writers.map((writer) => writer.write(50))
        victim.thaw()
        await Promise.all(more)
        await check(all)
      }
    })
  }

  it('continues after all members were killed', async () => {
    const all = await startWritersAndReaders(2)
    await Promise.all(all.writers.map((writer) => writer.write(20)))
    const { members } = etcd.cluster
    const writing = all.writers.map((writer) => writer.write(50))
    await Promise.all(members.map((member) => member.kill()))
    await Promise.all(members.map((member) => member.start()))
    await Promise.all(writing)
    await check(all)
  })

  /** Proxies in front of all members. */
  async function behind(treat: () => { up?: Filter; down?: Filter } = () => ({})) {
    const proxies = await Promise.all(
      etcd.cluster.endpoints.map((endpoint) => TcpProxy.to(Number(new URL(endpoint).port), treat)),
    )
    stage.onClear(() => Promise.all(proxies.map((proxy) => proxy.close())))
    return { proxies, endpoints: proxies.map(({ url }) => url.replace('ws:', 'http:')) }
  }

  it('loses nothing and delivers nothing twice, wherever connections break', async () => {
    await seeded(async (random) => {
      // In the middle of a line, of a header and of a chunk, at a different place each time.
      let left = 2_000
      const down: Filter = (bytes, passage) => {
        left -= bytes.length
        if (left > 0) return passage.pass(bytes)
        passage.pass(bytes.subarray(0, random.below(bytes.length)))
        left = 500 + random.below(4_000)
        passage.cut()
      }
      const { endpoints } = await behind(() => ({ down }))
      const all = await startWritersAndReaders(2, endpoints)
      const quiet = await startWritersAndReaders(1, undefined, 'q')
      const writers = [...all.writers, ...quiet.writers]
      await Promise.all(quiet.writers.map((writer) => writer.write(count(200, 2_000))))
      await Promise.all(all.writers.map((writer) => writer.write(count(50, 500))))
      left = Number.POSITIVE_INFINITY
      await check({ ...all, readers: [...all.readers, ...quiet.readers], writers })
      for (const { entries } of all.readers) {
        const positions = entries.items.map(([position]) => position)
        expect(positions).to.deep.equal([...new Set(positions)].sort((a, b) => a - b))
      }
    })
  })

  it('appends an entry again if there was no answer, and both copies are read', async () => {
    let isLost = false
    const down: Filter = (bytes, passage) => {
      if (!isLost || !bytes.includes('revision')) return passage.pass(bytes)
      isLost = false
      passage.cut()
    }
    const { endpoints } = await behind(() => ({ down }))
    const engine = await etcd.opened({ endpoints })
    await engine.append('b', 'before')
    isLost = true
    await engine.append('b', 'again')
    await engine.append('b', 'after')
    const reader = new Reader()
    engine.follow(0, reader)
    await reader.entries.count(4)
    expect(reader.texts).to.deep.equal(['before', 'again', 'again', 'after'])
  })

  it('notices a silent watch although appends still work', async () => {
    const valve = new Valve()
    const watches = new Set<number>()
    const { endpoints, proxies } = await behind(() => ({
      up: (bytes, passage) => {
        if (bytes.includes('/v3/watch')) watches.add(passage.index)
        passage.pass(bytes)
      },
      down: (bytes, passage) => {
        if (watches.has(passage.index)) valve.filter(bytes, passage)
        else passage.pass(bytes)
      },
    }))
    const [engine] = (await startWritersAndReaders(1, endpoints)).engines
    const reader = new Reader()
    engine!.follow(0, reader)
    await engine!.append('b', 'one')
    await reader.entries.count(1)
    valve.shut()
    await engine!.append('b', 'two')
    await Promise.race(proxies.map((proxy) => proxy.nextConnection()))
    valve.open()
    await reader.entries.count(2)
    await engine!.append('b', 'three')
    await reader.entries.count(3)
    expect(reader.texts).to.deep.equal(['one', 'two', 'three'])
  })

  it('saves snapshots and compacts while the leader changes', async () => {
    const engine = await etcd.opened()
    const victim = await etcd.cluster.leader()
    victim.freeze()
    const parts = Array.from({ length: 50 }, (_, i) => `${i}${'x'.repeat(50_000)}`)
    let saved = await engine.saveSnapshot(5, parts).catch(() => undefined)
    saved ??= await engine.saveSnapshot(6, parts)
    expect(saved).to.equal(true)
    victim.thaw()
    const found = (await engine.snapshot())!
    const read: string[] = []
    for await (const part of found.parts) read.push(part)
    expect(read.length).to.equal(parts.length)
    await engine.compact(0, [])
  })
})
