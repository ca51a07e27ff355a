/**
 * Tests how a replicated log (a command log that several brokers share) encodes entries and
 * snapshots, and the queue of commands for the next entries. The command log orders all changes of
 * the lock table. An entry has a batch of commands of one broker, or says that a broker joins or
 * leaves. A snapshot has the lock table as it was after an entry. Most tests use the command
 * `raiseFenceFloor`, which sets a minimum for the next fence (the number of a grant).
 */
import { type Command, dump, LockTable, restore } from '@holdfast/server/core'
import {
  CommandQueue,
  decodeEntry,
  encodeCommands,
  encodeEntry,
  loadSnapshot,
  MemberList,
  makeSnapshot,
  nodeEnvironment,
} from '@holdfast/server/internal'
import { HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import { fenceFloorCommand } from './logSuite.js'
import { MemorySource, MemoryStore } from './memoryEngine.js'

/** The fields of every entry besides its format: broker, number at this broker, time. */
const base = { broker: 'a', n: 2, at: 7 }
/** The position of an entry in the log; error messages contain the position. */
const entryPosition = 5

describe('log entry', () => {
  it('is the same after encoding and decoding', () => {
    const commands = [fenceFloorCommand(1), fenceFloorCommand(2)]
    const texts = commands.map((command) => JSON.stringify(command))
    // The notices tell the other brokers of a dead broker, a digest of the table, and a snapshot.
    const notices = { dead: [{ broker: 'b', last: 3 }], digest: [1_000, 'x'], snapshot: 5 } as const
    for (const [text, entry] of [
      [encodeCommands(base, texts, notices), { ...base, commands, notices }],
      [encodeCommands(base, [], undefined), { ...base, commands: [] }],
      [encodeEntry({ ...base, n: 1, join: {} }), { ...base, n: 1, join: {} }],
      [encodeEntry({ ...base, join: { replaces: 'z' } }), { ...base, join: { replaces: 'z' } }],
      [encodeEntry({ ...base, leave: true }), { ...base, leave: true }],
    ] as const) {
      // `v` is the format of the log.
      expect(decodeEntry(text, entryPosition)).to.deep.equal({ v: 3, ...entry })
    }
  })

  it('is refused with an error that contains the format, if the format is newer', () => {
    const decode = () => decodeEntry('{"v":4,"what":"ever"}', entryPosition)
    expect(decode).to.throw(HoldfastError, 'has format 4')
  })

  it('is refused with an error that contains the command, if this version does not know the command', () => {
    const known = '{"type":"raiseFenceFloor","fence":1,"at":0}'
    for (const command of ['{"type":"grow","size":2}', '{"type":"constructor"}', '7', 'null']) {
      const text = `{"v":3,"broker":"a","n":2,"at":0,"commands":[${known},${command}]}`
      expect(() => decodeEntry(text, entryPosition))
        .to.throw(HoldfastError, /has a command ".*" at position 5, which this version/)
        .with.property('code', 'INVALID_OPTION')
    }
  })

  const invalidTexts = [
    ...['', 'nonsense', 'null', '7', '[]', '{}', '{"v":0,"broker":"a","n":1,"at":0,"leave":true}'],
    '{"v":3,"broker":"a","n":1,"at":0}',
    '{"v":3,"broker":"a","n":1,"at":0,"join":null}',
    '{"v":3,"broker":"a","n":1,"at":0,"join":"b"}',
    '{"v":3,"broker":"a","n":1,"at":0,"commands":{}}',
    '{"v":3,"broker":"a","n":1,"at":0,"commands":[],"leave":true}',
    '{"v":3,"broker":"a","n":1,"at":0,"leave":false}',
    '{"v":3,"broker":"a","n":1.5,"at":0,"commands":[]}',
    '{"v":3,"broker":7,"n":1,"at":0,"commands":[]}',
  ]
  for (const text of invalidTexts) {
    it(`is refused with its position if its text is ${text === '' ? 'empty' : text}`, () => {
      expect(() => decodeEntry(text, entryPosition)).to.throw(HoldfastError, 'position 5')
    })
  }
})

describe('the queue of commands for the next entries', () => {
  /** Makes a command whose session id has this length. The kind of the command does not matter. */
  const longCommand = (length: number): Command => ({
    type: 'ack',
    session: 'x'.repeat(length),
    attachEpoch: 1,
    ids: [],
    at: 0,
  })

  it('returns as many commands as fit into an entry, in order', () => {
    const queue = new CommandQueue()
    // An entry has at most 2,000 commands.
    const submitted = Array.from({ length: 4_500 }, (_, i) => fenceFloorCommand(i))
    for (const command of submitted) queue.add(command)
    const batches = [
      queue.takeForEntry(),
      queue.takeForEntry(),
      queue.takeForEntry(),
      queue.takeForEntry(),
    ]
    expect(batches.map(({ length }) => length)).to.deep.equal([2_000, 2_000, 500, 0])
    expect(batches.flat().map((text) => JSON.parse(text))).to.deep.equal(submitted)
  })

  it('limits the length of an entry too, but returns at least one command', () => {
    const queue = new CommandQueue()
    // An entry has at most 256 KiB, so it has room for two commands of 100,000 characters.
    for (const length of [100_000, 100_000, 100_000, 300_000, 10]) queue.add(longCommand(length))
    const batches = [
      queue.takeForEntry(),
      queue.takeForEntry(),
      queue.takeForEntry(),
      queue.takeForEntry(),
    ]
    expect(batches.map(({ length }) => length)).to.deep.equal([2, 1, 1, 1])
  })

  it('reports overload while it has too many commands or too many characters', () => {
    const queue = new CommandQueue()
    // With 100,000 commands, the broker rejects new requests; with 200,000, the broker disconnects
    // clients.
    for (let i = 0; i < 99_999; i++) queue.add(fenceFloorCommand(i))
    expect(queue.load).to.equal('ok')
    queue.add(fenceFloorCommand(0))
    expect(queue.load).to.equal('rejectNew')
    queue.takeForEntry()
    expect(queue.load).to.equal('ok')
    // The queue still has 98,000 commands, because an entry takes 2,000.
    for (let i = 0; i < 102_000; i++) queue.add(fenceFloorCommand(i))
    expect([queue.load, queue.length]).to.deep.equal(['disconnect', 200_000])
    queue.clear()
    expect([queue.load, queue.length]).to.deep.equal(['ok', 0])
    // The broker also rejects new requests with more than 32 Mi (33.6 million) characters.
    for (let i = 0; i < 34; i++) queue.add(longCommand(1_000_000))
    expect(queue.load).to.equal('rejectNew')
    while (queue.length > 0) queue.takeForEntry()
    expect(queue.load).to.equal('ok')
  })
})

describe('snapshot of a replicated log', () => {
  const config = { format: 3, deadMs: 6_000, cluster: '' }
  const limits = { locks: 10, answers: 10, waitersPerKey: 10 }

  /**
   * Makes a store with two entries. The second entry opens a session, which gets a lock with this
   * metadata. The entries are at the positions 2 and 4 (the store counts in steps of 2).
   */
  function filledStore(metadata: string): { store: MemoryStore; source: MemorySource } {
    const store = new MemoryStore(nodeEnvironment)
    const open: Command = {
      ...{
        type: 'open',
        handshakeId: 'a',
        session: 's',
        ownerBroker: 'a',
        principal: 'p',
        name: 'n',
        at: 0,
      },
      ...{ lease: 15_000, grace: 15_000, secret: 'hash', limits },
    }
    const lock: Command = {
      ...{ type: 'lock', session: 's', attachEpoch: 1, id: 1, key: 'k', mode: 'exclusive', at: 0 },
      ...{ ttl: undefined, timeout: undefined, steal: false, metadata },
    }
    store.put(encodeEntry({ broker: 'a', n: 1, at: 0, join: {} }))
    const texts = [open, lock].map((command) => JSON.stringify(command))
    store.put(encodeCommands({ broker: 'a', n: 2, at: 0 }, texts, undefined))
    return { store, source: new MemorySource(store) }
  }

  it('contains the effects of all entries, whether or not there is an earlier snapshot', async () => {
    const { store, source } = filledStore('"m"')
    // The last two arguments are the position and the time of the snapshot.
    expect(await makeSnapshot(source.create(), config, 4, 7)).to.equal(4)
    store.put(
      encodeCommands(
        { broker: 'a', n: 3, at: 0 },
        [JSON.stringify(fenceFloorCommand(99))],
        undefined,
      ),
    )
    // The broker `stranger` has not joined, so its entry has no effect, and the number of entries
    // in `members.state` stays 3.
    store.put('{"v":3,"broker":"stranger","n":1,"at":0,"commands":[]}')
    expect(await makeSnapshot(source.create(), config, 8, 8)).to.equal(8)
    const loaded = await loadSnapshot(source.create())
    expect(loaded?.position).to.equal(8)
    expect(loaded?.at).to.equal(8)
    expect(loaded?.members.state).to.deep.equal({ count: 3, live: [['a', 3]], dead: [] })
    const table = restore(loaded!.items)
    expect(table.fence).to.equal(99)
    expect(
      [...table.sessions.values()].map(({ id, ownerBroker }) => [id, ownerBroker]),
    ).to.deep.equal([['s', 'a']])
  })

  it('is not made if the number of an entry shows that an earlier entry is missing', async () => {
    const { store, source } = filledStore('"m"')
    // The entry 3 of the broker is missing.
    store.put(encodeCommands({ broker: 'a', n: 4, at: 0 }, [], undefined))
    const error = await makeSnapshot(source.create(), config, 6, 7).catch((reason) => reason)
    expect(error.message).to.contain('has lost entry 3 of broker a')
    expect(store.snapshots).to.deep.equal([])
  })

  it('removes the entries up to the position of the previous snapshot', async () => {
    const { store, source } = filledStore('"m"')
    await makeSnapshot(source.create(), config, 4, 7)
    expect(store.compactedTo).to.equal(0)
    store.put(encodeCommands({ broker: 'a', n: 3, at: 0 }, [], undefined))
    await makeSnapshot(source.create(), config, 6, 7)
    expect(store.compactedTo).to.equal(4)
  })

  it('is not made if a snapshot of the same or a later position exists', async () => {
    const { source } = filledStore('"m"')
    const makeAt4 = () => makeSnapshot(source.create(), config, 4, 7)
    const outcomes = await Promise.all([makeAt4(), makeAt4()])
    expect(outcomes.sort()).to.deep.equal([4, undefined])
    expect(await makeSnapshot(source.create(), config, 2, 7)).to.equal(undefined)
  })

  it('is cut into parts only between characters', async () => {
    // Each emoji has two UTF-16 units. A letter before the emojis moves all of them by one unit.
    for (const before of ['', 'x']) {
      const metadata = JSON.stringify(before + '😀'.repeat(100_000))
      const { store, source } = filledStore(metadata)
      await makeSnapshot(source.create(), config, 4, 7)
      const { parts } = store.snapshots[0]!
      // Only if there are several parts, a part could end inside an emoji.
      expect(parts.length).to.be.greaterThan(3)
      for (const part of parts) {
        // The engine in memory limits a part to 1,000 UTF-16 units.
        expect(part.length).to.be.at.most(1_000)
        // Half of an emoji would not survive the conversion to UTF-8.
        expect(Buffer.from(part).toString()).to.equal(part)
      }
      const table = restore((await loadSnapshot(source.create()))!.items)
      const [lock] = table.keys.get('k')!.holders
      expect(lock?.metadata).to.equal(metadata)
    }
  })

  it('is refused if it is damaged or has a newer format', async () => {
    /** Loads the newest snapshot and reads all its items. */
    const readSnapshot = async (store: MemoryStore): Promise<unknown> => {
      const loaded = await loadSnapshot(new MemorySource(store).create())
      return [...loaded!.items]
    }
    const validHead = '{"v":3,"at":0,"members":{"count":0,"live":[],"dead":[]}}\n'
    const items = [...dump(new LockTable())].map((item) => `${JSON.stringify(item)}\n`)
    for (const [parts, problem] of [
      [['{"v":4}\n'], 'format 4'],
      [[], 'damaged'],
      [['{}\n'], 'damaged'],
      [[validHead.slice(0, -1)], 'damaged'],
      [[validHead, '{"item":"ta'], 'damaged'],
      [[validHead, 'nonsense\n'], 'damaged'],
    ] as const) {
      const store = new MemoryStore(nodeEnvironment)
      store.snapshots.push({ position: 2, parts: [...parts] })
      const error = await readSnapshot(store).catch((reason) => reason)
      expect(error, parts.join()).to.be.instanceOf(HoldfastError)
      expect((error as Error).message).to.contain(problem)
    }
    // The same head is accepted with undamaged items.
    const undamagedStore = new MemoryStore(nodeEnvironment)
    undamagedStore.snapshots.push({ position: 2, parts: [validHead, ...items] })
    const loaded = await loadSnapshot(new MemorySource(undamagedStore).create())
    expect(loaded?.members.state).to.deep.equal(new MemberList().state)
  })
})
