/**
 * Tests the files of a journal (a command log on disk, from which a broker restores its lock
 * table). Only their owner may access the files. On a platform without LMDB (the database of the
 * journal), a broker with a journal cannot start, but a broker in memory can.
 */
import { fork } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { journalLog } from '@holdfast/server'
import { HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import { exitOf } from '../e2e/remote.js'
import { needs } from '../support/needs.js'
import { fenceFloorCommand, RecordingTable } from './logSuite.js'

const withoutLmdb = fileURLToPath(new URL('./programs/withoutLmdb.js', import.meta.url))

describe('journal: its files', () => {
  /** A temporary folder. The journal makes `dir` and its parent in this folder. */
  let folder: string
  let dir: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-journal-'))
    dir = join(folder, 'a', 'journal')
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  /** Opens the journal, makes a snapshot, and closes the journal. */
  async function useJournal(): Promise<void> {
    // The error is undefined if the journal was closed after its snapshot.
    const error = await new Promise<unknown>((resolve) => {
      // With this limit of one byte, the first command causes a snapshot.
      const log = journalLog({ dir, snapshotBytes: 1, onSnapshot: () => resolve(log.close()) })
      const table = new RecordingTable()
      void log.start(table)?.then(() => log.submit(fenceFloorCommand(1)), resolve)
    })
    if (error instanceof Error) throw error
  }

  /**
   * The permissions of the directory and of its files, in octal digits. A key is the path in the
   * directory; the key of the directory itself is empty.
   */
  function permissions(): Record<string, string> {
    const paths = [dir, ...readdirSync(dir).map((name) => join(dir, name))]
    return Object.fromEntries(
      paths.map((path) => [path.slice(dir.length), (statSync(path).mode & 0o777).toString(8)]),
    )
  }

  it('are accessible only to their owner, even if the umask of the process is 0', async () => {
    // With this umask, new files are accessible to all users unless their mode forbids this.
    const formerUmask = process.umask(0)
    try {
      await useJournal()
    } finally {
      process.umask(formerUmask)
    }
    expect(permissions()).to.deep.equal({ '': '700', '/data.mdb': '600', '/lock.mdb': '600' })
    expect(statSync(join(folder, 'a')).mode & 0o777).to.equal(0o700)
  })

  describe('of another user', () => {
    needs('root')

    it('are reported as unreadable, and not as damaged', async () => {
      await useJournal()
      for (const path of [folder, join(folder, 'a'), dir]) chmodSync(path, 0o755)
      // The user `nobody`
      process.seteuid!(65_534)
      let error: unknown
      try {
        error = await useJournal().catch((reason: unknown) => reason)
      } finally {
        process.seteuid!(0)
      }
      expect(error).to.be.instanceOf(HoldfastError)
      expect((error as HoldfastError).message).to.match(
        /journal cannot be opened \(EACCES: permission denied/,
      )
    })
  })

  it('lose the permissions that an earlier version of Holdfast gave to other users', async () => {
    await useJournal()
    chmodSync(dir, 0o777)
    for (const name of readdirSync(dir)) chmodSync(join(dir, name), 0o664)
    await useJournal()
    expect(permissions()).to.deep.equal({ '': '700', '/data.mdb': '600', '/lock.mdb': '600' })
  })

  it('are accessible only to their owner, even if `dir` existed and was accessible to others', async () => {
    mkdirSync(dir, { recursive: true })
    chmodSync(dir, 0o755)
    await useJournal()
    expect(permissions()).to.deep.equal({ '': '700', '/data.mdb': '600', '/lock.mdb': '600' })
  })

  it('are refused if one of them is a symbolic link', async () => {
    const victim = join(folder, 'victim')
    writeFileSync(victim, 'mine')
    // Every platform checks the lock file `owner`, although some platforms do not use this file.
    for (const name of ['data.mdb', 'lock.mdb', 'owner']) {
      mkdirSync(dir, { recursive: true })
      symlinkSync(victim, join(dir, name))
      const error = await useJournal().catch((reason: unknown) => reason)
      expect(error, name).to.be.instanceOf(HoldfastError).with.property('code', 'INVALID_OPTION')
      expect((error as Error).message).to.include('has data files that are not regular files')
      rmSync(dir, { recursive: true })
    }
    expect(readFileSync(victim, 'utf8')).to.equal('mine')
  })

  it('cannot be made on a platform without LMDB, but a broker in memory starts there', async () => {
    const child = fork(withoutLmdb, [dir])
    const messages: string[] = []
    child.on('message', (message: string) => messages.push(message))
    expect(await exitOf(child)).to.deep.equal({ code: 0, signal: null })
    expect(messages[0]).to.equal('listening')
    const { arch, platform, version } = process
    // The part in brackets is the error that `withoutLmdb` makes up.
    expect(messages[1]).to.equal(
      'UNAVAILABLE A journal needs the package lmdb, which cannot be loaded on ' +
        `${platform}-${arch} with Node ${version} (No native build was found for ` +
        'platform=plan9): install lmdb where it has a binary for this platform or a C++ ' +
        'compiler to build one, or start the broker without a journal',
    )
    expect(readdirSync(folder), 'no file was made').to.deep.equal([])
  })
})
