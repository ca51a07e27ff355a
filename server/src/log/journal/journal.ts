/**
 * The journal: a command log on the local disk. A broker with a journal keeps its locks when it
 * restarts or crashes.
 *
 * The journal writes the commands of one turn of the event loop as one commit, and applies the
 * commands after the commit. Therefore a client receives an answer only if the command counts as
 * written (see the option `durability`). The next commit writes all commands that arrive during a
 * commit. So the disk makes few commits even for many clients.
 */
import { statfsSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { HoldfastError, type OptionNames, refuseUnknownOptions } from '@holdfast/shared'
import type { Command } from '../../core/index.js'
import type { JournalStatus } from '../../observability/logStatus.js'
import { nodeEnvironment } from '../../platform/environment.js'
import type { OwnershipHandle } from '../../platform/ownership.js'
import { runInTurns } from '../../platform/turns.js'
import type { Log, StateMachine } from '../log.js'
import { lockDirectory, openingError, prepareDirectory, reasonOf } from './directory.js'
import { checkIntegrity } from './integrityCheck.js'
import { encodeRecord } from './record.js'
import { JournalStore, loadLmdb, type SnapshotInfo } from './store.js'

export interface JournalOptions {
  /**
   * A directory for this journal alone. The journal creates the directory if it does not exist. The
   * journal makes the directory and its files accessible to this user only, or emits a warning if
   * this fails.
   */
  readonly dir: string
  /**
   * When a command counts as written. `'flushed'` (the default): when the command is on the disk,
   * so that it survives a power failure. `'relaxed'`: when the operating system has the command, so
   * that it survives a crash of the process. After a power failure a relaxed journal may be
   * damaged, and a broker then refuses to start with this journal.
   */
  readonly durability?: 'flushed' | 'relaxed' | undefined
  /** Bytes of records after which a snapshot is made. Default 67,108,864 (64 MiB). */
  readonly snapshotBytes?: number | undefined
  /** Called after a snapshot was saved, and the old records and the old snapshot were removed. */
  readonly onSnapshot?: (() => void) | undefined
}

/** Directories of failed journals, whose files this process still has open (see `close`). */
const leftOpen = new Set<string>()

const knownOptions: OptionNames<JournalOptions> = {
  dir: 1,
  durability: 1,
  snapshotBytes: 1,
  onSnapshot: 1,
}

/**
 * Creates the log for `createBroker({ log })`.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for an invalid or unknown option.
 */
export function journalLog(options: JournalOptions): Log {
  // Pass null for missing options, because `refuseUnknownOptions` accepts undefined but not null.
  refuseUnknownOptions('journalLog', options ?? null, knownOptions)
  return new JournalLog(options)
}

/** The journal of one broker. */
class JournalLog implements Log {
  readonly #dir: string
  readonly #isFlushed: boolean
  readonly #snapshotBytes: number
  readonly #onSnapshot: (() => void) | undefined
  #stateMachine: StateMachine | undefined
  /** The lock on the directory, while this journal is open. */
  #directoryLock: OwnershipHandle | undefined
  #store: JournalStore | undefined
  /** The number of the newest record, which may still be under way to the disk. */
  #sequence = 0
  /** The checksum of the newest record. */
  #checksum = 0
  /** The commands for the next record. */
  #waiting: Command[] = []
  #isCommitting = false
  /** Whether this journal commits or applies commands, or will do so at the end of this turn. */
  #isWorking = false
  /** Bytes of the records since the last snapshot. */
  #bytesSinceSnapshot = 0
  #snapshotWorker: Worker | undefined
  #newestSnapshot: SnapshotInfo | undefined
  #hasFailed = false
  /** Whether a write of a record or of a snapshot has failed. */
  #hasWriteFailed = false
  /** Called when every submitted command is applied, or when the journal has failed. */
  #onIdle: (() => void) | undefined
  /** The promise that `start` returned. */
  #starting: Promise<void> | undefined
  /** Aborted when `close` is called. */
  readonly #closing = new AbortController()

  constructor(options: JournalOptions) {
    const { dir, durability = 'flushed', snapshotBytes = 64 * 1024 * 1024, onSnapshot } = options
    if (typeof dir !== 'string' || dir === '') {
      throw new HoldfastError('INVALID_OPTION', 'dir must be the path of a directory')
    }
    if (durability !== 'flushed' && durability !== 'relaxed') {
      throw new HoldfastError(
        'INVALID_OPTION',
        `durability must be "flushed" or "relaxed", not ${String(durability)}`,
      )
    }
    if (!Number.isSafeInteger(snapshotBytes) || snapshotBytes < 1) {
      throw new HoldfastError(
        'INVALID_OPTION',
        `snapshotBytes must be a positive integer, not ${snapshotBytes}`,
      )
    }
    this.#dir = dir
    this.#isFlushed = durability === 'flushed'
    this.#snapshotBytes = snapshotBytes
    this.#onSnapshot = onSnapshot
  }

  get journal(): JournalStatus {
    const newest = this.#newestSnapshot
    const now = nodeEnvironment.clock.wall()
    return {
      // The record of a commit that is under way does not count yet.
      position: this.#isCommitting ? this.#sequence - 1 : this.#sequence,
      waiting: this.#waiting.length,
      snapshot: newest && {
        position: newest.sequence,
        ageMs: Math.max(0, now - newest.at),
      },
    }
  }

  start(stateMachine: StateMachine): Promise<void> {
    this.#stateMachine = stateMachine
    this.#starting = this.#start(stateMachine)
    return this.#starting
  }

  async #start(stateMachine: StateMachine): Promise<void> {
    const { signal } = this.#closing
    // LMDB, the database of the journal, is loaded first. So the journal creates no directory if
    // LMDB is missing.
    await loadLmdb()
    const hasJournal = prepareDirectory(this.#dir)
    this.#directoryLock = lockDirectory(this.#dir)
    try {
      if (hasJournal)
        await checkIntegrity(this.#dir, { isOpenInThisProcess: leftOpen.has(this.#dir), signal })
      if (signal.aborted) throw new HoldfastError('UNAVAILABLE', 'The journal was closed')
      this.#store = await JournalStore.open(this.#dir, this.#isFlushed)
      await runInTurns(this.#load(this.#store, stateMachine), nodeEnvironment)
    } catch (error) {
      // Close the files first, because another process may open them after the unlock.
      await this.#store?.close()
      this.#directoryLock.close()
      throw error instanceof HoldfastError ? error : openingError(this.#dir, error)
    }
  }

  submit(command: Command): void {
    if (this.#hasFailed) return
    this.#waiting.push(command)
    if (this.#isWorking) return
    this.#isWorking = true
    nodeEnvironment.endOfTurn(() => this.#work())
  }

  async close(): Promise<void> {
    this.#closing.abort()
    // Waits until the start has ended, so that the start cannot lock the directory, or write to it,
    // after this method has returned.
    await this.#starting?.catch(() => {})
    if (!this.#hasFailed && this.#isWorking) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
    }
    await this.#snapshotWorker?.terminate()
    const storeClosing = this.#store?.close()
    // After a failed write, LMDB never closes its file. Do not wait for LMDB then.
    if (this.#hasWriteFailed) leftOpen.add(this.#dir)
    else await storeClosing
    this.#directoryLock?.close()
  }

  /** Restores the snapshot and replays the records after it, in short steps. */
  *#load(store: JournalStore, stateMachine: StateMachine): Generator<undefined, void, undefined> {
    yield* store.checkEntries()
    const snapshot = store.snapshot()
    if (snapshot !== undefined) {
      yield* stateMachine.restore(snapshot.items)
      this.#newestSnapshot = { sequence: snapshot.sequence, at: snapshot.at }
      this.#sequence = snapshot.sequence
      this.#checksum = snapshot.checksum
    }
    const records = store.recordsAfter(this.#sequence, this.#checksum)
    for (const { sequence, size, checksum, commands } of records) {
      for (const command of commands) {
        stateMachine.replay(command)
        yield
      }
      this.#sequence = sequence
      this.#checksum = checksum
      this.#bytesSinceSnapshot += size
    }
  }

  /**
   * Commits and applies. If the broker throws while it applies a command, stops the journal,
   * because the lock table may have only a part of the command.
   */
  async #work(): Promise<void> {
    try {
      await this.#commitAndApply()
    } catch (cause) {
      const message =
        `The broker could not apply a command of the journal in ${this.#dir} (${reasonOf(cause)}), ` +
        'so it has stopped granting: please report this error'
      this.#fail(new HoldfastError('UNAVAILABLE', message, { cause }))
    }
  }

  /** Commits the waiting commands and applies them, until no command waits. */
  async #commitAndApply(): Promise<void> {
    let commit = this.#commit()
    while (commit !== undefined) {
      const commands = await commit
      if (this.#hasFailed) return
      // Starts the next commit first, so that the disk works while the broker applies the commands.
      const nextCommit = this.#commit()
      await runInTurns(this.#apply(commands), nodeEnvironment)
      // A failed journal must make no snapshot, because `close` may already have unlocked the
      // directory.
      if (this.#hasFailed) return
      if (this.#bytesSinceSnapshot >= this.#snapshotBytes) this.#startSnapshot()
      // Without a next commit yet, the broker may have submitted commands while it applied these.
      commit = nextCommit ?? this.#commit()
    }
    this.#isWorking = false
    this.#onIdle?.()
  }

  /**
   * Writes the waiting commands as the next record. Returns a promise that resolves with these
   * commands when the record is written, or with no commands if the write fails. Returns undefined
   * if no command waits, or if the journal has failed already.
   */
  #commit(): Promise<readonly Command[]> | undefined {
    if (this.#hasFailed || this.#waiting.length === 0) return undefined
    const commands = this.#waiting
    this.#waiting = []
    this.#isCommitting = true
    const { bytes, checksum } = encodeRecord(this.#sequence + 1, this.#checksum, commands)
    this.#sequence++
    this.#checksum = checksum
    this.#bytesSinceSnapshot += bytes.length
    return this.#store!.append(this.#sequence, bytes).then(
      () => {
        this.#isCommitting = false
        return commands
      },
      (cause) => {
        this.#failWrite(cause)
        return []
      },
    )
  }

  /**
   * Applies committed commands in steps, because all commands together may take seconds. For
   * example, a hundred sessions with ten thousand locks each may end at the same time.
   */
  *#apply(commands: readonly Command[]): Generator<undefined, void, undefined> {
    for (const command of commands) {
      if (this.#hasFailed) return
      this.#stateMachine!.apply(command)
      yield
    }
  }

  /** Starts a worker thread, which builds a lock table from the journal and saves a snapshot. */
  #startSnapshot(): void {
    if (this.#snapshotWorker !== undefined) return
    this.#bytesSinceSnapshot = 0
    const workerData = { dir: this.#dir, isFlushed: this.#isFlushed, upTo: this.#sequence }
    const worker = new Worker(new URL('./snapshotWorker.js', import.meta.url), { workerData })
    this.#snapshotWorker = worker
    worker.once('message', (info: SnapshotInfo) => {
      this.#newestSnapshot = info
    })
    worker.once('error', (cause) => this.#failWrite(cause))
    worker.once('exit', (code) => {
      this.#snapshotWorker = undefined
      if (code === 0) this.#onSnapshot?.()
    })
  }

  #failWrite(cause: unknown): void {
    this.#hasWriteFailed = true
    this.#fail(this.#ioError(cause))
  }

  /** Stops for good: drops the waiting commands and reports the error. */
  #fail(error: HoldfastError): void {
    if (this.#hasFailed) return
    this.#hasFailed = true
    this.#waiting = []
    this.#stateMachine!.fail(error)
    this.#onIdle?.()
  }

  /**
   * The error for a failed write or snapshot. The message has the free space, because LMDB reports
   * a full disk as an input/output error.
   */
  #ioError(cause: unknown): HoldfastError {
    const message =
      `The journal in ${this.#dir} cannot be written (${reasonOf(cause)}; ` +
      `${freeSpaceIn(this.#dir)}), so the broker has stopped granting: ` +
      'free space and restart the broker'
    return new HoldfastError('UNAVAILABLE', message, { cause })
  }
}

function freeSpaceIn(dir: string): string {
  try {
    const { bavail, bsize } = statfsSync(dir)
    return `${bavail * bsize} bytes are free`
  } catch (error) {
    // If the disk fails, the directory may be unreadable too.
    return `the free space is unknown, ${reasonOf(error)}`
  }
}
