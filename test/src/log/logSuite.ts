/**
 * The common test suite of all command logs. A command log orders all changes of the lock table. It
 * gives each submitted command to the state machine once, in the order of the submits. The log
 * never calls `apply` while another call of `apply` runs. The close of the log waits for all
 * submitted commands.
 */
import {
  type Command,
  dump,
  GradualSnapshot,
  LockTable,
  restoreGradually,
  type SnapshotItem,
} from '@holdfast/server/core'
import { Digest, type Log, type StateMachine, type StateSnapshot } from '@holdfast/server/internal'
import { expect } from 'chai'

/** Records the commands of a log, and applies them to a lock table. */
export class RecordingTable implements StateMachine {
  /** The items of the snapshots from which the log has restored this table. */
  readonly restored: unknown[] = []
  /** The commands that the log has replayed: no client waits for their effects any more. */
  readonly replayed: Command[] = []
  /** The new commands, in the order in which the log delivered them. */
  readonly applied: Command[] = []
  /** The error with which the log failed. */
  failure: Error | undefined
  #table = new LockTable()
  #depth = 0
  /** The deepest nesting of `apply` calls. */
  deepest = 0
  /** Called in `apply`, after the table has applied the command. */
  onApply: (command: Command) => void = () => {}
  /** The calls of {@link whenApplied} that wait, each for a number of commands. */
  #waiters: { count: number; resolve: () => void }[] = []

  replay(command: Command): void {
    this.replayed.push(command)
    this.#table.apply(command)
  }

  *restore(items: Iterable<SnapshotItem>): Generator<undefined, void> {
    const allItems = [...items]
    this.restored.push(...allItems)
    this.#table = yield* restoreGradually(allItems)
  }

  apply(command: Command): void {
    this.#depth++
    this.deepest = Math.max(this.deepest, this.#depth)
    this.applied.push(command)
    this.#table.apply(command)
    this.onApply(command)
    this.#depth--
    const doneWaiters = this.#waiters.filter(({ count }) => this.applied.length >= count)
    this.#waiters = this.#waiters.filter((waiter) => !doneWaiters.includes(waiter))
    for (const { resolve } of doneWaiters) resolve()
  }

  fail(error: Error): void {
    this.failure = error
  }

  serve(): void {}

  resign(): void {}

  digest(): string {
    // Only several brokers compare digests, and each log of this suite has one broker.
    return ''
  }

  beginSnapshot(): StateSnapshot {
    const snapshot = new GradualSnapshot(this.#table)
    // The log refuses a snapshot whose items do not have this digest.
    const digest = new Digest(this.#table).value
    return { digest, items: snapshot.items(), end: () => snapshot.end() }
  }

  dump(): Iterable<SnapshotItem> {
    return dump(this.#table)
  }

  /** Resolves when this many commands were applied. */
  whenApplied(count: number): Promise<void> {
    if (this.applied.length >= count) return Promise.resolve()
    return new Promise((resolve) => this.#waiters.push({ count, resolve }))
  }
}

/**
 * Makes a simple command. A fence is the number of a grant. After this command, the next grant must
 * have a higher fence than `fence`.
 */
export function fenceFloorCommand(fence: number): Command {
  return { type: 'raiseFenceFloor', fence, at: 0 }
}

/** The time of a command that takes a whole turn: more than the 10 ms after which a log pauses. */
const longCommandMs = 11

/**
 * Defines the tests of the suite for one kind of log.
 *
 * @param options.appliesInTurns Whether the log pauses when the commands of one turn take long.
 */
export function logSuite(name: string, makeLog: () => Log, { appliesInTurns = true } = {}): void {
  describe(`log: ${name}`, () => {
    let log: Log
    let table: RecordingTable
    beforeEach(async () => {
      log = makeLog()
      table = new RecordingTable()
      await log.start(table)
    })

    it('applies every command once, in the order of the submits', async () => {
      const commands = Array.from({ length: 500 }, (_, i) => fenceFloorCommand(i + 1))
      for (const command of commands) log.submit(command)
      await table.whenApplied(500)
      expect(table.applied).to.deep.equal(commands)
      await log.close()
      expect(table.applied.length).to.equal(500)
    })

    it('applies the commands of many turns in the order of the submits', async () => {
      for (let turn = 0; turn < 20; turn++) {
        for (let i = 1; i <= 5; i++) log.submit(fenceFloorCommand(turn * 5 + i))
        // The test waits for only some of the submitted commands, so the others may be pending.
        await table.whenApplied(turn * 3)
      }
      await log.close()
      const fences = table.applied.map((command) => 'fence' in command && command.fence)
      expect(fences).to.deep.equal(Array.from({ length: 100 }, (_, i) => i + 1))
    })

    it('nests no calls of `apply` if the state machine submits a command in `apply`', async () => {
      table.onApply = (command) => {
        if ('fence' in command && command.fence < 50)
          log.submit(fenceFloorCommand(command.fence + 1))
      }
      log.submit(fenceFloorCommand(1))
      await table.whenApplied(50)
      expect(table.deepest).to.equal(1)
      await log.close()
    })

    it('has applied all submitted commands when its close has ended', async () => {
      for (let i = 1; i <= 50; i++) log.submit(fenceFloorCommand(i))
      await log.close()
      expect(table.applied.length).to.equal(50)
      expect(table.failure).to.equal(undefined)
    })

    if (!appliesInTurns) return

    it('pauses after each command that takes a whole turn of the event loop', async () => {
      let turn = 0
      const nextTurn = (): void => {
        turn++
        countingTurns = setImmediate(nextTurn)
      }
      let countingTurns = setImmediate(nextTurn)
      const turnsOfCommands: number[] = []
      table.onApply = () => {
        turnsOfCommands.push(turn)
        const end = performance.now() + longCommandMs
        while (performance.now() < end);
      }
      for (let i = 1; i <= 5; i++) log.submit(fenceFloorCommand(i))
      // The log must not close before it has applied the commands of all turns.
      await log.close()
      clearImmediate(countingTurns)
      expect(table.applied.length).to.equal(5)
      expect(new Set(turnsOfCommands).size, turnsOfCommands.join()).to.equal(5)
    })
  })
}
