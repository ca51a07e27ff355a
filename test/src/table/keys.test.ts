/**
 * Keys in use are counted and listed in the order in which they came into use; idle ones only seem
 * to be forgotten, until enough others are idle.
 */
import { type KeyState, KeyTable } from '@holdfast/server/core'
import { expect } from 'chai'
import { Bench } from './bench.js'

/** More idle keys than are ever kept where none is in use, or hardly any. */
const manyIdle = 2_000

function fallIdle(keys: KeyTable, count: number): void {
  for (let i = 0; i < count; i++) keys.release(keys.getOrCreate(`idle:${i}`))
}

function names(entries: Iterable<KeyState>): string[] {
  return Array.from(entries, ({ key }) => key)
}

describe('table: keys', () => {
  it('an idle key is neither found nor listed nor counted, and is last when it comes back', () => {
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

  it('a key that is taken again has the same entry', () => {
    const keys = new KeyTable()
    const entry = keys.getOrCreate('k')
    for (let i = 0; i < 10; i++) {
      keys.release(entry)
      fallIdle(keys, 100)
      expect(keys.getOrCreate('k')).to.equal(entry)
    }
  })

  it('a key that has been idle for long is forgotten', () => {
    const keys = new KeyTable()
    const entry = keys.getOrCreate('k')
    keys.release(entry)
    fallIdle(keys, manyIdle)
    expect(keys.getOrCreate('k')).not.to.equal(entry)
  })

  it('keeps idle keys in proportion to those in use, and no longer than those are', () => {
    const keys = new KeyTable()
    const held = Array.from({ length: 16_000 }, (_, i) => keys.getOrCreate(`held:${i}`))
    const entry = keys.getOrCreate('k')
    keys.release(entry)
    fallIdle(keys, manyIdle)
    expect(keys.getOrCreate('k')).to.equal(entry)
    keys.release(entry)
    for (const entry of held) keys.release(entry)
    expect(keys.size).to.equal(0)
    expect(keys.getOrCreate('k')).not.to.equal(entry)
  })
})
