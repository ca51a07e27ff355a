/**
 * A missing need skips at a desk and fails in CI where CI could have met it; CI's list is whole.
 */
import { assert } from 'chai'
import { lackOf, type Machine, packageFor } from '../support/needs.js'
import { filesUnder, read } from './repository.js'

const full: Machine = { ci: false, root: true, has: () => true, succeeds: () => true }

describe('what tests need of a machine', () => {
  it('is met where it is there', () => {
    assert.isUndefined(lackOf('root', full))
    assert.isUndefined(lackOf('namespaces', full))
    assert.isUndefined(lackOf('chromium', { ...full, root: false }))
  })

  it('is named where it is missing', () => {
    const poor: Machine = { ...full, root: false, has: () => false }
    assert.match(lackOf('root', poor)?.reason ?? '', /root/)
    assert.match(lackOf('chromium', poor)?.reason ?? '', /chromium/)
    const walled: Machine = { ...full, succeeds: () => false }
    assert.match(lackOf('namespaces', walled)?.reason ?? '', /does not allow "unshare --net/)
  })

  it('is held against CI only where CI could have installed it', () => {
    const ci: Machine = { ...full, ci: true, has: () => false }
    assert.isTrue(lackOf('chromium', ci)?.avoidable)
    assert.isFalse(lackOf('chromium', { ...ci, ci: false })?.avoidable)
    assert.isFalse(lackOf('chromium', { ...ci, root: false })?.avoidable)
    assert.isFalse(lackOf('root', { ...ci, root: false })?.avoidable)
    assert.isFalse(
      lackOf('namespaces', { ...ci, has: () => true, succeeds: () => false })?.avoidable,
    )
  })

  it('is on the list of what CI installs', () => {
    const listed = read('.ci/packages')
      .text.split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    const wanted = filesUnder('test/src', '.ts')
      .filter(
        ({ path }) => !path.startsWith('test/src/conventions/') && !path.endsWith('/needs.ts'),
      )
      .flatMap(({ text }) => [...text.matchAll(/\bneeds\(([^)]*)\)/g)])
      .flatMap(([, names]) => [...(names ?? '').matchAll(/'(\w+)'/g)])
      .map(([, name]) => packageFor(name as string))
      .filter((name) => name !== undefined)
    assert.includeMembers(listed, wanted)
  })
})
