/**
 * An oracle (a check of a simulated run) of gradual snapshots, which a broker reads in small parts
 * between its commands. The oracle makes gradual snapshots of the lock table, one at a time, and
 * reads a few items after each command. Each snapshot must equal the table at the moment when the
 * snapshot began.
 */
import type { SnapshotItem } from '@holdfast/server/core'
import { ItemDigest, type StateMachine, type StateSnapshot } from '@holdfast/server/internal'
import type { RunReport } from './runReport.js'

/** The oracle begins a snapshot at every twentieth command, unless a snapshot is under way. */
const commandsPerSnapshot = 20

interface SnapshotUnderWay {
  readonly snapshot: StateSnapshot
  readonly items: Iterator<SnapshotItem>
  readonly itemsRead: SnapshotItem[]
  /** The items of the table when the snapshot began, as text. */
  readonly expected: string
}

export class SnapshotOracle {
  readonly #report: RunReport
  #underWay: SnapshotUnderWay | undefined
  #commands = 0

  constructor(report: RunReport) {
    this.#report = report
  }

  /** Call after the state machine has executed a command. */
  afterCommand(stateMachine: StateMachine): void {
    this.#commands++
    if (this.#underWay !== undefined) this.#read(this.#underWay)
    else if (this.#commands % commandsPerSnapshot === 0) this.#begin(stateMachine)
  }

  /**
   * Ends the snapshot under way, if any. Call before the broker begins a snapshot, because a table
   * has one snapshot at a time.
   */
  endSnapshot(): void {
    this.#underWay?.snapshot.end()
    this.#underWay = undefined
  }

  #begin(stateMachine: StateMachine): void {
    // This snapshot is read at once, for comparison.
    const completeSnapshot = stateMachine.beginSnapshot()
    const expected = textOf(completeSnapshot.items)
    completeSnapshot.end()
    const snapshot = stateMachine.beginSnapshot()
    this.#underWay = { snapshot, items: snapshot.items[Symbol.iterator](), itemsRead: [], expected }
  }

  #read(underWay: SnapshotUnderWay): void {
    // Reads 0 to 3 items after each command.
    for (let itemsLeft = this.#commands % 4; itemsLeft > 0; itemsLeft--) {
      const { value, done } = underWay.items.next()
      if (done === true) {
        this.#check(underWay)
        this.endSnapshot()
        return
      }
      underWay.itemsRead.push(value)
    }
  }

  #check({ snapshot, itemsRead, expected }: SnapshotUnderWay): void {
    this.#report.count('gradual snapshot')
    const itemDigest = new ItemDigest()
    for (const item of itemsRead) itemDigest.add(item)
    // A broker without a cluster keeps no digest.
    const hasSameDigest = snapshot.digest === '' || snapshot.digest === itemDigest.value
    const text = textOf(itemsRead)
    if (text === expected && hasSameDigest) return
    const detail =
      text === expected
        ? `the snapshot has the digest ${snapshot.digest}, but its items have ${itemDigest.value}`
        : `the gradual snapshot has\n${text}\nbut the table had\n${expected}`
    this.#report.violated('a gradual snapshot equals the table when the snapshot began', detail)
  }
}

function textOf(items: Iterable<SnapshotItem>): string {
  return Array.from(items, (item) => JSON.stringify(item)).join('\n')
}
