/**
 * Tests that a lock table with many locks grows in short steps only. V8 doubles the memory of a
 * `Map` in one step, which takes more than 100 ms for a million entries. So a lock table keeps its
 * keys in a `ShardedMap`, which divides many entries among small maps. A restore keeps the sets of
 * keys (see `lockAll`) in a `ShardedMap` too. The tests count the entries of each `Map`, and
 * measure no time.
 */
import {
  dump,
  hashOfText,
  LockTable,
  restoreGradually,
  ShardedMap,
  type SnapshotItem,
} from '@holdfast/server/core'
import { expect } from 'chai'
import { quickOrFull } from '../support/counts.js'
import { TableDriver } from './tableDriver.js'

/** The most entries that a `Map` may have. V8 needs less than 10 ms to double such a `Map`. */
const maxMapSize = 20_000
/** Enough that even a single `Map` of the sets (two keys each) would exceed `maxMapSize`. */
const keyCount = quickOrFull(70_000, 150_000)

/** Runs some work. Returns the largest size that a `Map` or `Set` had after an addition. */
function largestMapDuring(work: () => void): number {
  let largest = 0
  const { set } = Map.prototype
  const { add } = Set.prototype
  Map.prototype.set = function (key, value) {
    set.call(this, key, value)
    largest = Math.max(largest, this.size)
    return this
  }
  Set.prototype.add = function (value) {
    add.call(this, value)
    largest = Math.max(largest, this.size)
    return this
  }
  try {
    work()
  } finally {
    Map.prototype.set = set
    Set.prototype.add = add
  }
  return largest
}

/** Returns a driver whose sessions hold `keyCount` keys, each as a lock, or as half of a set. */
function driverWithLocks(inSets: boolean): TableDriver {
  // The driver does not check invariants, because each check examines the whole table.
  const driver = new TableDriver({ checksInvariants: false })
  for (let i = 0; i < keyCount; i += 2) {
    const session = `s${Math.floor(i / 10_000)}`
    if (i % 10_000 === 0) driver.open(session)
    if (inSets) driver.lockAll(session, [`k${i}`, `k${i + 1}`])
    else for (const key of [`k${i}`, `k${i + 1}`]) driver.lock(session, key)
  }
  expect(driver.table.heldCount).to.equal(keyCount)
  return driver
}

describe('table: a large number of keys', () => {
  for (const inSets of [false, true]) {
    const lockKind = inSets ? 'sets of two keys' : 'locks'
    it(`${lockKind} are granted, and restored from a snapshot, without a large Map`, () => {
      let driver = new TableDriver()
      const largestInFill = largestMapDuring(() => {
        driver = driverWithLocks(inSets)
      })
      const items: SnapshotItem[] = [...dump(driver.table)]
      let restored = new LockTable()
      const largestInRestore = largestMapDuring(() => {
        const steps = restoreGradually(items)
        let step = steps.next()
        while (step.done !== true) step = steps.next()
        restored = step.value
      })
      expect(restored.heldCount).to.equal(keyCount)
      expect(restored.keys.get(`k${keyCount - 1}`)?.holders.length).to.equal(1)
      expect(Math.max(largestInFill, largestInRestore)).to.be.below(maxMapSize)
    })
  }
})

describe('sharded map', () => {
  it('has the entries of a Map after the same additions and removals', () => {
    const map = new Map<string, number>()
    const sharded = new ShardedMap<string, number>(hashOfText)
    const add = (i: number): void => {
      map.set(`k${i}`, i)
      sharded.add(`k${i}`, i)
    }
    const remove = (i: number): void => {
      map.delete(`k${i}`)
      sharded.delete(`k${i}`)
    }
    const check = (): void => {
      expect(sharded.size).to.equal(map.size)
      // Every third key, to save time. Some of these keys are present, others removed.
      for (let i = 0; i < keyCount; i += 3) expect(sharded.get(`k${i}`)).to.equal(map.get(`k${i}`))
    }
    for (let i = 0; i < keyCount; i++) add(i)
    check()
    for (let i = 0; i < keyCount; i += 2) remove(i)
    check()
    for (let i = 0; i < keyCount; i += 4) add(i)
    check()
    for (let i = 0; i < keyCount; i++) remove(i)
    check()
    // The emptied map can be filled again.
    for (let i = 0; i < 10; i++) add(i)
    check()
  })

  it('has a hash function that divides similar keys evenly among the shards', () => {
    for (const keyOf of [
      (i: number) => `order:${i}`,
      (i: number) => `tenant/${i}/a-name-that-all-keys-share`,
      // Two characters, both with bits beyond the lowest 8.
      (i: number) => String.fromCharCode(0x100 + (i % 64), 0x3000 + Math.floor(i / 64)),
    ]) {
      const counts = new Map<number, number>()
      for (let i = 0; i < 32_000; i++) {
        // The lowest 5 bits choose one of the 32 shards.
        const shard = hashOfText(keyOf(i)) & 31
        counts.set(shard, (counts.get(shard) ?? 0) + 1)
      }
      expect(counts.size).to.equal(32)
      // The mean is 1,000 keys a shard.
      expect(Math.max(...counts.values())).to.be.below(1_500)
    }
  })
})
