/**
 * Tests `needs`, which skips a test if the machine lacks a program or permission that the test
 * needs. If CI could have installed the program, the lack is avoidable, and the test fails in CI.
 */
import { assert } from 'chai'
import { lackOf, type Machine, packageFor } from '../support/needs.js'
import { filesUnder, read } from './repository.js'

/** A machine with all programs and permissions. */
const complete: Machine = { ci: false, root: true, has: () => true, succeeds: () => true }

describe('a need of a test', () => {
  it('is met if the machine has the program or the permission', () => {
    assert.isUndefined(lackOf('root', complete))
    assert.isUndefined(lackOf('namespaces', complete))
    assert.isUndefined(lackOf('chromium', { ...complete, root: false }))
  })

  it('is named in the reason for a skipped test', () => {
    const withoutRootAndPrograms: Machine = { ...complete, root: false, has: () => false }
    assert.match(lackOf('root', withoutRootAndPrograms)?.reason ?? '', /root/)
    assert.match(lackOf('chromium', withoutRootAndPrograms)?.reason ?? '', /chromium/)
    const withoutNamespaces: Machine = { ...complete, succeeds: () => false }
    const { reason = '' } = lackOf('namespaces', withoutNamespaces) ?? {}
    assert.match(reason, /does not allow "unshare --net/)
  })

  it('is avoidably unmet only if CI could have installed the program', () => {
    const ciWithoutPrograms: Machine = { ...complete, ci: true, has: () => false }
    assert.isTrue(lackOf('chromium', ciWithoutPrograms)?.avoidable)
    assert.isFalse(lackOf('chromium', { ...ciWithoutPrograms, ci: false })?.avoidable)
    // Only root can install a program.
    assert.isFalse(lackOf('chromium', { ...ciWithoutPrograms, root: false })?.avoidable)
    assert.isFalse(lackOf('root', { ...ciWithoutPrograms, root: false })?.avoidable)
    assert.isFalse(
      lackOf('namespaces', { ...complete, ci: true, succeeds: () => false })?.avoidable,
    )
  })

  it('has its Debian package in the list of packages that CI installs', () => {
    const installed = read('.ci/packages')
      .text.split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    const needed = filesUnder('test/src', '.ts')
      // Leaves out files whose needs are only examples.
      .filter(
        ({ path }) => !path.startsWith('test/src/conventions/') && !path.endsWith('/needs.ts'),
      )
      .flatMap(({ text }) => [...text.matchAll(/\bneeds\(([^)]*)\)/g)])
      .flatMap(([, names]) => [...(names ?? '').matchAll(/'(\w+)'/g)])
      .map(([, name]) => packageFor(name as string))
      .filter((name) => name !== undefined)
    assert.includeMembers(installed, needed)
  })
})
