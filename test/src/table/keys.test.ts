/**
 * The table counts the keys in use, and lists them in the order in which they came into use. A key
 * without holders and waiters is idle. The table hides an idle key, and drops the state of the key
 * when many other keys have become idle.
 */
import { type KeyState, KeyTable } from '@holdfast/server/core'
import { expect } from 'chai'
import { TableDriver } from './tableDriver.js'

/** A table with few keys in use keeps only 1,024 of so many idle keys. */
const idleKeyCount = 2_000

function addIdleKeys(keys: KeyTable, count: number): void {
  for (let i = 0; i < count; i++) keys.markIdle(keys.getOrCreate(`idle:${i}`))
}

function namesOf(keyStates: Iterable<KeyState>): string[] {
  return Array.from(keyStates, ({ key }) => key)
}

describe('table: keys', () => {
  it('an idle key is neither found nor listed nor counted, and is listed last when it is used again', () => {
    const driver = TableDriver.withSessions('a')
    for (const key of ['k', 'l', 'm']) driver.lock('a', key)
    driver.unlock('a', 1)
    const { keys } = driver.table
    expect([keys.size, keys.get('k'), namesOf(keys.values())]).to.deep.equal([
      2,
      undefined,
      ['l', 'm'],
    ])
    driver.lock('a', 'k')
    expect([keys.size, keys.get('k')?.key, namesOf(keys.values())]).to.deep.equal([
      3,
      'k',
      ['l', 'm', 'k'],
    ])
  })

  it('a key that is used again soon has the same state object', () => {
    const keys = new KeyTable()
    const keyState = keys.getOrCreate('k')
    for (let i = 0; i < 10; i++) {
      keys.markIdle(keyState)
      // After 100 further idle keys, the table still keeps the state of `k`.
      addIdleKeys(keys, 100)
      expect(keys.getOrCreate('k')).to.equal(keyState)
    }
  })

  it('the table drops an idle key after many other keys have become idle', () => {
    const keys = new KeyTable()
    const keyState = keys.getOrCreate('k')
    keys.markIdle(keyState)
    addIdleKeys(keys, idleKeyCount)
    expect(keys.getOrCreate('k')).not.to.equal(keyState)
  })

  it('the table keeps more idle keys while more keys are in use', () => {
    const keys = new KeyTable()
    // For 16,000 keys in use, the table keeps 2,000 idle keys more than the usual 1,024.
    const usedKeys = Array.from({ length: 16_000 }, (_, i) => keys.getOrCreate(`used:${i}`))
    const keyState = keys.getOrCreate('k')
    keys.markIdle(keyState)
    addIdleKeys(keys, idleKeyCount)
    expect(keys.getOrCreate('k')).to.equal(keyState)
    keys.markIdle(keyState)
    // Now no key is in use, so the table keeps only 1,024 idle keys, and `k` is not among them.
    for (const usedKey of usedKeys) keys.markIdle(usedKey)
    expect(keys.size).to.equal(0)
    expect(keys.getOrCreate('k')).not.to.equal(keyState)
  })
})
