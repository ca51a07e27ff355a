/**
 * Tests the journal on a real disk. The journal is a command log on disk, which orders all changes
 * of the lock table, and from which a broker restores its table. LMDB is the database of the
 * journal. The journal must restore its records, and refuse damaged files, files of a newer format,
 * and directories in use. A snapshot has the whole table, and replaces the records before it.
 * The tests submit commands `raiseFenceFloor`, which differ in a number, the fence.
 */
import { fork } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { crc32 } from 'node:zlib'
import { createBroker, type JournalOptions, journalLog } from '@holdfast/server'
import type { Command } from '@holdfast/server/core'
import { crashReason } from '@holdfast/server/internal'
import { HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import { exitOf } from '../e2e/remote.js'
import { Stage } from '../e2e/stage.js'
import { Holdfast } from '../ops/command.js'
import { fenceFloorCommand, RecordingTable } from './logSuite.js'

const program = fileURLToPath(new URL('./programs/flushing.js', import.meta.url))

/**
 * The length of the head of a record: the checksum, the format, the record number, and the checksum
 * of the previous record.
 */
const recordHeadBytes = 16

/**
 * Finds the head of the LMDB entry whose value is at `valueAt`, and returns the offset of the head.
 * The head has the lengths of the value and of the key.
 */
function lmdbHeadOffset(bytes: Buffer, valueAt: number, valueBytes: number): number {
  const headBytes = 8
  // The head has the length of the key at this offset.
  const keyLengthAt = 6
  // The key lies between the head and the value. Head and key together are much shorter than this.
  const maxBytesBefore = 64
  for (let head = valueAt - headBytes; head > valueAt - maxBytesBefore; head--) {
    const hasValueLength = bytes.readUInt32LE(head) === valueBytes
    const keyBytes = valueAt - headBytes - head
    if (hasValueLength && bytes.readUInt16LE(head + keyLengthAt) === keyBytes) return head
  }
  throw new Error('LMDB has another file format than this test expects')
}

describe('journal', () => {
  const stage = Stage.forEachTest()
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'holdfast-journal-'))
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  const dataFile = (): string => join(dir, 'data.mdb')

  /** Opens the journal, submits commands and closes the journal. Returns the table. */
  async function runJournal(
    commands: readonly Command[],
    options: Partial<JournalOptions> = {},
  ): Promise<RecordingTable> {
    const log = journalLog({ dir, ...options })
    const table = new RecordingTable()
    await log.start(table)
    for (const command of commands) {
      log.submit(command)
      // Waits after each command, so that each command becomes a record of its own.
      await table.whenApplied(table.applied.length + 1)
    }
    await log.close()
    return table
  }

  /** The error with which the journal refuses to start. */
  async function refusal(options: Partial<JournalOptions> = {}): Promise<HoldfastError> {
    const error = await runJournal([], options).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).to.be.instanceOf(HoldfastError)
    return error as HoldfastError
  }

  it('restores its commands in order, and accepts further commands', async () => {
    const firstCommands = [fenceFloorCommand(1), fenceFloorCommand(2), fenceFloorCommand(3)]
    expect((await runJournal(firstCommands)).replayed).to.deep.equal([])
    expect((await runJournal([fenceFloorCommand(4)])).replayed).to.deep.equal(firstCommands)
    expect((await runJournal([])).replayed).to.deep.equal([...firstCommands, fenceFloorCommand(4)])
  })

  it('may be in a directory with a dot in its name', async () => {
    const dirWithDot = join(dir, 'broker.journal')
    await runJournal([fenceFloorCommand(1)], { dir: dirWithDot })
    expect((await runJournal([], { dir: dirWithDot })).replayed).to.deep.equal([
      fenceFloorCommand(1),
    ])
  })

  it('replaces old records by snapshots, and accepts commands while it makes a snapshot', async () => {
    const open: Command = {
      type: 'open',
      handshakeId: 'a',
      session: 's',
      ownerBroker: '',
      principal: 'p',
      name: undefined,
      lease: 15_000,
      grace: 15_000,
      secret: 'hash',
      at: 0,
      limits: { locks: 10_000, answers: 10_000, waitersPerKey: 10 },
    }
    const locks = Array.from(
      { length: 1_200 },
      (_, i): Command => ({
        type: 'lock',
        session: 's',
        attachEpoch: 1,
        id: i + 1,
        key: `k${i}`,
        mode: 'exclusive',
        ttl: undefined,
        timeout: undefined,
        steal: false,
        metadata: undefined,
        at: 0,
      }),
    )
    let reportSnapshot: () => void = () => {}
    const snapshotMade = new Promise<void>((resolve) => {
      reportSnapshot = resolve
    })
    const log = journalLog({ dir, snapshotBytes: 100_000, onSnapshot: () => reportSnapshot() })
    const table = new RecordingTable()
    await log.start(table)
    for (const command of [open, ...locks]) log.submit(command)
    await table.whenApplied(1 + locks.length)
    log.submit(fenceFloorCommand(7))
    await snapshotMade
    log.submit(fenceFloorCommand(8))
    await log.close()
    const { restored, replayed } = await runJournal([])
    const kinds = restored.map((item) => (item as { item: string }).item)
    expect(kinds.filter((kind) => kind === 'lock').length).to.equal(locks.length)
    expect(kinds.filter((kind) => kind === 'session').length).to.equal(1)
    // The snapshot may contain the command with the fence 7, but not the one with the fence 8.
    expect(replayed.at(-1)).to.deep.equal(fenceFloorCommand(8))
    expect(replayed.length).to.be.at.most(2)
    expect((await runJournal([])).restored).to.deep.equal(restored)
  })

  it('counts the records of former runs towards the next snapshot', async () => {
    // The records of one run are shorter than 500 bytes, and the records of two runs are longer.
    const commands = Array.from({ length: 5 }, (_, i) => fenceFloorCommand(i))
    for (let run = 1; run <= 2; run++) await runJournal(commands, { snapshotBytes: 500 })
    let reportSnapshot: () => void = () => {}
    const snapshotMade = new Promise<void>((resolve) => {
      reportSnapshot = resolve
    })
    const log = journalLog({ dir, snapshotBytes: 500, onSnapshot: () => reportSnapshot() })
    await log.start(new RecordingTable())
    log.submit(fenceFloorCommand(9))
    await snapshotMade
    await log.close()
    expect((await runJournal([])).replayed.length).to.be.at.most(1)
  })

  it('fails, and can be closed, if the broker cannot apply a command', async () => {
    const log = journalLog({ dir })
    const table = new RecordingTable()
    await log.start(table)
    const failed = new Promise<Error>((resolve) => {
      table.fail = resolve
    })
    table.onApply = () => {
      throw new TypeError('no such lock')
    }
    log.submit(fenceFloorCommand(1))
    const error = await failed
    expect(error.message).to.match(/could not apply a command of the journal .*no such lock/)
    await log.close()
    // The command is in the journal.
    expect((await runJournal([])).replayed).to.deep.equal([fenceFloorCommand(1)])
  })

  it('stays usable and unchanged if a broker is closed before it starts', async () => {
    await runJournal([fenceFloorCommand(1)])
    const broker = createBroker({ log: journalLog({ dir }) })
    await broker.close()
    expect((await runJournal([fenceFloorCommand(2)])).replayed).to.deep.equal([
      fenceFloorCommand(1),
    ])
    const nextBroker = createBroker({ log: journalLog({ dir }) })
    await nextBroker.listen({ port: 0 })
    await nextBroker.close()
    // The last broker may have added records of its own.
    expect((await runJournal([])).replayed.slice(0, 2)).to.deep.equal([
      fenceFloorCommand(1),
      fenceFloorCommand(2),
    ])
  })

  it('refuses a directory that another log of this process uses', async () => {
    const log = journalLog({ dir })
    await log.start(new RecordingTable())
    // The message is the same as for another process.
    const error = await refusal()
    expect(error.code).to.equal('UNAVAILABLE')
    expect(error.message).to.contain('in use by another process')
    await log.close()
    await runJournal([])
  })

  it('refuses a directory with other contents', async () => {
    writeFileSync(join(dir, 'letters.txt'), 'dear reader')
    const error = await refusal()
    expect(error.code).to.equal('INVALID_OPTION')
    expect(error.message).to.contain('has other contents than a journal')
  })

  it('refuses a path that is a file', async () => {
    const path = join(dir, 'file')
    writeFileSync(path, '')
    expect((await refusal({ dir: path })).code).to.equal('INVALID_OPTION')
  })

  it('refuses a truncated file as damaged', async () => {
    await runJournal(Array.from({ length: 20 }, (_, i) => fenceFloorCommand(i)))
    const { length } = readFileSync(dataFile())
    // 8,192 and 4,096 bytes are two pages and one page of LMDB.
    for (const size of [length - 1, length / 2, 8192, 4096, 100, 0]) {
      truncateSync(dataFile(), size)
      const error = await refusal()
      expect(error.code, String(size)).to.equal('UNAVAILABLE')
      expect(error.message, String(size)).to.contain('damaged')
    }
  })

  it('refuses records with a flipped bit at any place', async () => {
    await runJournal([fenceFloorCommand(1), fenceFloorCommand(2), fenceFloorCommand(3)])
    const original = readFileSync(dataFile())
    const text = '"type":"raiseFenceFloor","fence":2'
    // LMDB copies pages when it writes, so the file also has old copies, which LMDB does not read.
    const copies: number[] = []
    for (let at = original.indexOf(text); at >= 0; at = original.indexOf(text, at + 1)) {
      copies.push(at)
    }
    expect(copies).not.to.deep.equal([])
    // Offsets in the text, and negative offsets in the head of the record, before the text.
    for (const offset of [0, 10, text.length - 1, -4, -8, -14]) {
      const bytes = Buffer.from(original)
      for (const at of copies) bytes[at + offset]! ^= 1
      writeFileSync(dataFile(), bytes)
      expect((await refusal()).message, String(offset)).to.contain('damaged')
    }
    writeFileSync(dataFile(), original)
    expect((await runJournal([])).replayed.length).to.equal(3)
  })

  it('refuses pages that crash LMDB, and the broker does not crash', async () => {
    await runJournal([fenceFloorCommand(1), fenceFloorCommand(2), fenceFloorCommand(3)])
    const bytes = readFileSync(dataFile())
    const text = JSON.stringify([fenceFloorCommand(2)])
    for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
      const head = lmdbHeadOffset(bytes, at - recordHeadBytes, recordHeadBytes + text.length)
      // Sets the upper half of the length: LMDB would read a gibibyte beyond the end of the file.
      bytes.writeUInt16LE(0x4000, head + 2)
    }
    writeFileSync(dataFile(), bytes)
    const args = ['serve', '--port', '0', '--journal', dir]
    const { code, signal, err } = await Holdfast.run(stage, args)
    expect({ code, signal }).to.deep.equal({ code: 74, signal: null })
    expect(err).to.have.length(1)
    expect(err[0]).to.match(
      /^holdfast: The journal is damaged \(reading it ends with \w+\): restore/,
    )
  })

  // Before the broker opens the journal, a child process reads the journal, because damaged pages
  // can crash LMDB. `crashReason` tells whether the child process crashed.
  it('treats a crash of the child process as damage, but no other signal or exit code', () => {
    expect(crashReason(null, 'SIGSEGV')).to.equal('ends with SIGSEGV')
    // The code of an access violation on Windows, as an unsigned and as a signed integer.
    expect(crashReason(0xc0000005, null)).to.equal('ends with code 0xc0000005')
    expect(crashReason(0xc0000005 | 0, null)).to.equal('ends with code 0xc0000005')
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL']) {
      expect(crashReason(null, signal), signal).to.equal(undefined)
    }
    for (const code of [0, 1]) expect(crashReason(code, null)).to.equal(undefined)
  })

  it('refuses a record of a newer format, and reports the format', async () => {
    await runJournal([fenceFloorCommand(1)])
    const bytes = readFileSync(dataFile())
    const text = Buffer.from(JSON.stringify([fenceFloorCommand(1)]))
    for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
      const record = bytes.subarray(at - recordHeadBytes, at + text.length)
      // The format is at offset 4. The checksum of all later bytes is at offset 0.
      record.writeUInt16LE(9, 4)
      record.writeUInt32LE(crc32(record.subarray(4)), 0)
    }
    writeFileSync(dataFile(), bytes)
    const error = await refusal()
    expect(error.code).to.equal('INVALID_OPTION')
    expect(error.message).to.match(
      /^The journal has format 9, but .* supports up to 3: update Holdfast$/,
    )
  })

  it('refuses a command of a newer version, and does not skip the command', async () => {
    await runJournal([fenceFloorCommand(1)])
    const bytes = readFileSync(dataFile())
    const text = Buffer.from(JSON.stringify([fenceFloorCommand(1)]))
    for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
      const record = bytes.subarray(at - recordHeadBytes, at + text.length)
      // The new type has the same length. The record needs a new checksum.
      record.write('raiseFenceRoof ', record.indexOf('raiseFenceFloor'))
      record.writeUInt32LE(crc32(record.subarray(4)), 0)
    }
    writeFileSync(dataFile(), bytes)
    const error = await refusal()
    expect(error.code).to.equal('INVALID_OPTION')
    expect(error.message).to.match(
      /^The journal has a command "raiseFenceRoof " in record \d+, which/,
    )
  })

  for (const [durability, noSync] of [
    ['flushed', false],
    ['relaxed', true],
  ] as const) {
    it(`with the durability "${durability}", ${noSync ? 'does not wait' : 'waits'} for the disk`, async () => {
      const child = fork(program, [dir, durability])
      const messages: unknown[] = []
      child.on('message', (message) => messages.push(message))
      expect(await exitOf(child)).to.deep.equal({ code: 0, signal: null })
      // The program sends the option `noSync` with which the journal opens LMDB.
      expect(messages).to.deep.equal([noSync])
    })
  }

  it('refuses an invalid option', () => {
    const durability = 'unknown' as 'flushed'
    expect(() => journalLog({ dir, durability })).to.throw(HoldfastError, 'durability')
    expect(() => journalLog({ dir, snapshotBytes: 0 })).to.throw(HoldfastError, 'snapshotBytes')
  })
})
