/**
 * A gradual snapshot is read while the table executes further commands. The gradual snapshot must
 * equal the complete snapshot that `dump` makes in one step when the gradual snapshot begins. The
 * tests apply commands between the reads of the items. The commands add, change and remove records
 * that the snapshot has read or will read.
 */
import { dump, GradualSnapshot, LockTable, restore, type SnapshotItem } from '@holdfast/server/core'
import { Digest, ItemDigest } from '@holdfast/server/internal'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'
import { CommandMaker, type Step, step } from './steps.js'
import { isDeepEqual } from './tableAndModel.js'
import { TableDriver } from './tableDriver.js'
import { plainState } from './tableToPlain.js'

/** Moves up to `count` items to `readItems`. Returns whether no more items exist. */
function readUpTo(
  count: number,
  items: Iterator<SnapshotItem>,
  readItems: SnapshotItem[],
): boolean {
  for (let i = 0; i < count; i++) {
    const { value, done } = items.next()
    if (done === true) return true
    readItems.push(value)
  }
  return false
}

/** Applies steps to a table, until the steps end or `beforeStep` returns true. */
function applySteps(
  table: LockTable,
  commandMaker: CommandMaker,
  steps: readonly Step[],
  beforeStep: (index: number) => boolean = () => false,
): void {
  for (const [index, stepToRun] of steps.entries()) {
    if (beforeStep(index)) return
    const command = commandMaker.commandOf(stepToRun, plainState(table))
    if (command !== undefined) table.apply(command)
  }
}

/** The items as a command log stores them. */
function textOf(items: Iterable<SnapshotItem>): string {
  return Array.from(items, (item) => `${JSON.stringify(item)}\n`).join('')
}

const longHistory = fc.array(step, { minLength: 80, maxLength: 80, size: 'max' })
/** How many items a snapshot reads before each step: 0 to 4. No test has more than 200 steps. */
const countLists = fc.array(fc.nat(4), { minLength: 200, maxLength: 200, size: 'max' })

/**
 * Makes a gradual snapshot of a table, and applies steps between the items. Compares the items with
 * the snapshot that `dump` made before the steps.
 *
 * @param itemCounts How many items to read before each step.
 * @param Snapshot The class to test.
 */
function expectSameAsDump(
  table: LockTable,
  commandMaker: CommandMaker,
  steps: readonly Step[],
  itemCounts: readonly number[],
  Snapshot = GradualSnapshot,
): void {
  const expected = textOf(dump(table))
  // The state of a copy, which the steps do not change.
  const expectedState = plainState(restore(dump(table)))
  // A digest is a hash of the table.
  const expectedDigest = new Digest(table).value
  const snapshot = new Snapshot(table)
  const items = snapshot.items()
  const readItems: SnapshotItem[] = []
  applySteps(table, commandMaker, steps, (index) => readUpTo(itemCounts[index]!, items, readItems))
  readUpTo(Infinity, items, readItems)
  snapshot.end()
  expect(textOf(readItems)).to.equal(expected)
  const itemDigest = new ItemDigest()
  for (const item of readItems) itemDigest.add(item)
  expect(itemDigest.value).to.equal(expectedDigest)
  const restored = restore(JSON.parse(JSON.stringify(readItems)) as SnapshotItem[])
  expect(isDeepEqual(plainState(restored), expectedState)).to.equal(true)
}

/** The property that a snapshot of this class equals a dump for all histories. */
function propertyOf(Snapshot: typeof GradualSnapshot) {
  return fc.property(longHistory, longHistory, countLists, (before, during, itemCounts) => {
    const commandMaker = new CommandMaker()
    // The table grants at most 4 waiters in one command. So some keys have waiters that can be
    // granted, but only by a later command.
    const table = new LockTable(undefined, 4)
    applySteps(table, commandMaker, before)
    expectSameAsDump(table, commandMaker, during, itemCounts, Snapshot)
  })
}

describe('table: gradual snapshots', () => {
  it('have the state of the moment when they began, whatever commands come between the items', function () {
    this.timeout(300_000)
    fc.assert(propertyOf(GradualSnapshot), { ...quickOrFullRuns(60, 4_000), endOnFailure: true })
  })

  // Each class fails to copy one kind of records. No class is for kept results, because they are
  // rare in the histories. A test below checks kept results.
  for (const [name, Snapshot] of [
    [
      'sessions',
      class extends GradualSnapshot {
        override beforeSessionChange(): void {}
      },
    ],
    [
      'keys',
      class extends GradualSnapshot {
        override beforeKeyChange(): void {}
      },
    ],
    [
      'barriers',
      class extends GradualSnapshot {
        override beforeBarrierChange(): void {}
      },
    ],
  ] as const) {
    it(`the test above notices a snapshot that does not copy ${name} before their change`, function () {
      this.timeout(300_000)
      // One failing run suffices. 2,000 runs contain a failing run with every seed.
      const { failed } = fc.check(propertyOf(Snapshot), { numRuns: 2_000, endOnFailure: true })
      expect(failed).to.equal(true)
    })
  }

  it('contain keys that were unlocked after the beginning, in the old order, but no keys locked later', () => {
    // Fewer keys than steps, so that most keys are locked and unlocked several times.
    const keyCount = 24
    const keyLists = fc.array(fc.nat(keyCount - 1), { minLength: 60, maxLength: 60, size: 'max' })
    const property = fc.property(keyLists, keyLists, countLists, (before, during, itemCounts) => {
      // The driver does not check the invariants, because each check examines the whole table.
      const driver = new TableDriver({ checksInvariants: false })
      driver.open('s', { grace: 5_000 })
      const toggleKey = (index: number): void => toggleLock(driver, `k${index}`)
      before.forEach(toggleKey)
      const expected = textOf(dump(driver.table))
      const snapshot = new GradualSnapshot(driver.table)
      const items = snapshot.items()
      const readItems: SnapshotItem[] = []
      for (const [index, key] of during.entries()) {
        // At most one item, so that the snapshot does not end long before the last step.
        readUpTo(itemCounts[index]! % 2, items, readItems)
        toggleKey(key)
      }
      readUpTo(Infinity, items, readItems)
      snapshot.end()
      expect(textOf(readItems)).to.equal(expected)
    })
    fc.assert(property, { ...quickOrFullRuns(80, 5_000), endOnFailure: true })
  })

  it('contain a session and its locks, even if the session ends before they are read', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('b', 'k')
    const expected = textOf(dump(driver.table))
    const snapshot = new GradualSnapshot(driver.table)
    driver.end('b')
    expect(textOf(snapshot.items())).to.equal(expected)
    snapshot.end()
  })

  it('contain a kept result that the table forgets before the snapshot reads it', () => {
    const driver = TableDriver.withSessions('a')
    driver.once('a', 'k')
    driver.complete('a', 1, { value: '7', keep: 1_000 })
    const expected = textOf(dump(driver.table))
    expect(expected).to.contain('"item":"kept"')
    const snapshot = new GradualSnapshot(driver.table)
    driver.forgetResult('k', 1)
    expect(textOf(snapshot.items())).to.equal(expected)
    snapshot.end()
  })

  it('cannot begin while another snapshot of the table is under way', () => {
    const { table } = new TableDriver()
    const first = new GradualSnapshot(table)
    expect(() => new GradualSnapshot(table)).to.throw('another snapshot of this table is under way')
    first.end()
    new GradualSnapshot(table).end()
  })

  it('leave nothing behind in the table when they end early', () => {
    const driver = TableDriver.withSessions('a')
    for (let i = 0; i < 10; i++) driver.lock('a', `k${i}`)
    const snapshot = new GradualSnapshot(driver.table)
    // Reads a few items, so the snapshot ends amid the keys.
    readUpTo(4, snapshot.items(), [])
    snapshot.end()
    driver.lock('a', 'later')
    // A running snapshot marks its place with a bookmark in the list of the keys. Only the eleven
    // keys are left, so the bookmark is gone.
    expect(driver.table.keys.size).to.equal(11)
    expect([...driver.table.keys.values()].length).to.equal(11)
    expect(textOf(new GradualSnapshot(driver.table).items())).to.equal(textOf(dump(driver.table)))
  })
})

/** Locks a key, or unlocks it if it is held. */
function toggleLock(driver: TableDriver, key: string): void {
  const lock = driver.table.keys.get(key)?.holders.first
  if (lock === undefined) driver.lock('s', key)
  else driver.unlock('s', lock.fence)
}
