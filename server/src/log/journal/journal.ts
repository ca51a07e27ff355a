/**
 * A log on the local disk: a broker that is restarted, or killed, goes on with the locks it had.
 *
 * The commands of one turn are one commit, and come back to the table only when it is written; so
 * no answer leaves the broker that a crash could take back. While one commit is under way the next
 * commands gather, which is what makes a slow disk serve many clients.
 */
import { statfsSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { HoldfastError, type OptionNames, refuseUnknownOptions } from '@holdfast/shared'
import type { Command } from '../../core/index.js'
import type { JournalStatus } from '../../observability/logStatus.js'
import { nodeEnvironment } from '../../platform/environment.js'
import type { Owner } from '../../platform/ownership.js'
import type { Log, StateMachine } from '../log.js'
import { lockDirectory, prepareDirectory } from './directory.js'
import { checkIntegrity } from './integrityCheck.js'
import { damaged, encodeRecord } from './record.js'
import { loadLmdb, type MadeSnapshot, Store } from './store.js'

export interface JournalOptions {
  /**
   * A directory of its own; made if it is not there. It and its files are for this user alone; one
   * that is open to others is closed to them, and where that cannot be, a warning is emitted.
   */
  readonly dir: string
  /**
   * When a command counts. `'flushed'` (the default): when the operating system has put it on the
   * disk, so that it outlives a power failure. `'relaxed'`: when it is handed to the operating
   * system, so that it outlives the process only: after a power failure the journal may be damaged,
   * and is then refused.
   */
  readonly durability?: 'flushed' | 'relaxed' | undefined
  /** Bytes of records after which a snapshot is made. Default 67,108,864 (64 MiB). */
  readonly snapshotBytes?: number | undefined
  /** Called when a snapshot has been made and what it replaces is gone. */
  readonly onSnapshot?: (() => void) | undefined
}

/** Directories of journals that failed in this process, which has their files open to its end. */
const neverClosed = new Set<string>()

const known: OptionNames<JournalOptions> = {
  dir: 1,
  durability: 1,
  snapshotBytes: 1,
  onSnapshot: 1,
}

/**
 * Makes the log for `createBroker({ log })`.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for an option that cannot be, or that does not exist.
 */
export function journalLog(options: JournalOptions): Log {
  refuseUnknownOptions('journalLog', options ?? null, known)
  return new JournalLog(options)
}

class JournalLog implements Log {
  readonly #dir: string
  readonly #isFlushed: boolean
  readonly #snapshotBytes: number
  readonly #onSnapshot: (() => void) | undefined
  #replica: StateMachine | undefined
  #owner: Owner | undefined
  #store: Store | undefined
  #sequence = 0
  #checksum = 0
  #waiting: Command[] = []
  #isCommitting = false
  /** Bytes of records that no snapshot covers. */
  #unsnapshot = 0
  #snapshotting: Worker | undefined
  #newestSnapshot: MadeSnapshot | undefined
  #failed = false
  #onIdle: (() => void) | undefined
  #starting: Promise<void> | undefined
  readonly #closing = new AbortController()

  constructor(options: JournalOptions) {
    const { dir, durability = 'flushed', snapshotBytes = 64 * 1024 * 1024, onSnapshot } = options
    if (typeof dir !== 'string' || dir === '') {
      throw new HoldfastError('INVALID_OPTION', 'dir must be the path of a directory')
    }
    if (durability !== 'flushed' && durability !== 'relaxed') {
      throw new HoldfastError('INVALID_OPTION', 'durability is "flushed" or "relaxed".')
    }
    if (!Number.isSafeInteger(snapshotBytes) || snapshotBytes < 1) {
      throw new HoldfastError('INVALID_OPTION', 'snapshotBytes is a positive integer.')
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
      position: this.#isCommitting ? this.#sequence - 1 : this.#sequence,
      waiting: this.#waiting.length,
      snapshot: newest && {
        position: newest.sequence,
        ageMs: Math.max(0, now - newest.at),
      },
    }
  }

  start(replica: StateMachine): Promise<void> {
    this.#replica = replica
    this.#starting = this.#start(replica)
    return this.#starting
  }

  async #start(replica: StateMachine): Promise<void> {
    const { signal } = this.#closing
    // First, so that nothing is made for a journal that cannot be.
    await loadLmdb()
    const isThere = prepareDirectory(this.#dir)
    this.#owner = lockDirectory(this.#dir)
    try {
      if (isThere) await checkIntegrity(this.#dir, { isOurs: neverClosed.has(this.#dir), signal })
      if (signal.aborted) throw new HoldfastError('UNAVAILABLE', 'The journal was closed.')
      this.#store = await Store.open(this.#dir, this.#isFlushed)
      this.#load(this.#store, replica)
    } catch (error) {
      this.#owner.close()
      await this.#store?.close()
      throw error instanceof HoldfastError ? error : damaged(reasonOf(error))
    }
  }

  submit(command: Command): void {
    if (this.#failed) return
    this.#waiting.push(command)
    if (this.#waiting.length === 1 && !this.#isCommitting)
      nodeEnvironment.endOfTurn(() => this.#commit())
  }

  async close(): Promise<void> {
    this.#closing.abort()
    // Or it would take the directory when it is thought to be free, and write there.
    await this.#starting?.catch(() => {})
    if (!this.#failed && (this.#isCommitting || this.#waiting.length > 0)) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
    }
    await this.#snapshotting?.terminate()
    const closed = this.#store?.close()
    // LMDB waits for ever for a flush that has failed; its file is closed when the process ends.
    if (this.#failed) neverClosed.add(this.#dir)
    else await closed
    this.#owner?.close()
  }

  #load(store: Store, replica: StateMachine): void {
    store.checkEntries()
    const snapshot = store.snapshot()
    if (snapshot !== undefined) {
      replica.restore(snapshot.items)
      this.#newestSnapshot = { sequence: snapshot.sequence, at: snapshot.at }
      this.#sequence = snapshot.sequence
      this.#checksum = snapshot.checksum
    }
    const records = store.recordsAfter(this.#sequence, this.#checksum)
    for (const { sequence, size, checksum, commands } of records) {
      for (const command of commands) replica.replay(command)
      this.#sequence = sequence
      this.#checksum = checksum
      this.#unsnapshot += size
    }
  }

  #commit(): void {
    if (this.#isCommitting || this.#failed || this.#waiting.length === 0) return
    const commands = this.#waiting
    this.#waiting = []
    this.#isCommitting = true
    const { bytes, checksum } = encodeRecord(this.#sequence + 1, this.#checksum, commands)
    this.#sequence++
    this.#checksum = checksum
    this.#unsnapshot += bytes.length
    this.#store!.append(this.#sequence, bytes).then(
      () => this.#handBack(commands),
      (cause) => this.#fail(this.#ioError(cause)),
    )
  }

  #handBack(commands: readonly Command[]): void {
    this.#isCommitting = false
    // The disk has the next ones while these are acted upon.
    this.#commit()
    for (const command of commands) this.#replica!.apply(command)
    if (this.#unsnapshot >= this.#snapshotBytes) this.#snapshot()
    if (this.#isCommitting) return
    if (this.#waiting.length > 0) this.#commit()
    else this.#onIdle?.()
  }

  /** Lets a second replica, in a thread of its own, read the same log and set its table down. */
  #snapshot(): void {
    if (this.#snapshotting !== undefined) return
    this.#unsnapshot = 0
    const workerData = { dir: this.#dir, isFlushed: this.#isFlushed, upTo: this.#sequence }
    const worker = new Worker(new URL('./snapshotWorker.js', import.meta.url), { workerData })
    this.#snapshotting = worker
    worker.once('message', (made: MadeSnapshot) => {
      this.#newestSnapshot = made
    })
    worker.once('error', (cause) => this.#fail(this.#ioError(cause)))
    worker.once('exit', (code) => {
      this.#snapshotting = undefined
      if (code === 0) this.#onSnapshot?.()
    })
  }

  #fail(error: HoldfastError): void {
    if (this.#failed) return
    this.#failed = true
    this.#waiting = []
    this.#replica!.fail(error)
    this.#onIdle?.()
  }

  /** LMDB calls a full disk an input/output error; so the sentence says what is free. */
  #ioError(cause: unknown): HoldfastError {
    const sentence =
      `The journal in ${this.#dir} cannot be written (${reasonOf(cause)}; ${roomIn(this.#dir)}): ` +
      'the broker has stopped granting.'
    return new HoldfastError('UNAVAILABLE', sentence, { cause })
  }
}

function roomIn(dir: string): string {
  try {
    const { bavail, bsize } = statfsSync(dir)
    return `${bavail * bsize} bytes are free there`
  } catch (error) {
    // What takes a write away may take the directory with it.
    return `how much is free there is not known: ${reasonOf(error)}`
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
