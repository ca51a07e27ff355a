/**
 * Keys in use are counted, and listed in the order in which they came into use. Idle keys are
 * hidden, and dropped when enough others are idle.
 */
import { type KeyState, KeyTable } from '@holdfast/server/core'
import { expect } from 'chai'
import { Bench } from './bench.js'

/** More idle keys than the table keeps when hardly any key is in use. */
const manyIdle = 2_000

function fallIdle(keys: KeyTable, count: number): void {
  for (let i = 0; i < count; i++) keys.markIdle(keys.getOrCreate(`idle:${i}`))
}

function names(entries: Iterable<KeyState>): string[] {
  return Array.from(entries, ({ key }) => key)
}

describe('table: keys', () => {
  it('an idle key is neither found nor listed nor counted, and is last when it is used again', () => {
    const bench = Bench.with('a')
    for (const key of ['k', 'l', 'm']) bench.lock('a', key)
    bench.unlock('a', 1)
    const { keys } = bench.table
    expect([keys.size, keys.get('k'), names(keys.values())]).to.deep.equal([
      2,
      undefined,
      ['l', 'm'],
    ])
    bench.lock('a', 'k')
    expect([keys.size, keys.get('k')?.key, names(keys.values())]).to.deep.equal([
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
      fallIdle(keys, 100)
      expect(keys.getOrCreate('k')).to.equal(keyState)
    }
  })

  it('a key is dropped after many others have fallen idle', () => {
    const keys = new KeyTable()
    const keyState = keys.getOrCreate('k')
    keys.markIdle(keyState)
    fallIdle(keys, manyIdle)
    expect(keys.getOrCreate('k')).not.to.equal(keyState)
  })

  it('the number of kept idle keys is in proportion to the keys in use', () => {
    const keys = new KeyTable()
    const held = Array.from({ length: 16_000 }, (_, i) => keys.getOrCreate(`held:${i}`))
    const keyState = keys.getOrCreate('k')
    keys.markIdle(keyState)
    fallIdle(keys, manyIdle)
    expect(keys.getOrCreate('k')).to.equal(keyState)
    keys.markIdle(keyState)
    for (const keyState of held) keys.markIdle(keyState)
    expect(keys.size).to.equal(0)
    expect(keys.getOrCreate('k')).not.to.equal(keyState)
  })
})
