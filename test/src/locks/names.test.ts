/**
 * Tests how `session.locks` turns the names of the Web Locks API into keys of the broker. A name
 * comes back unchanged, no two names have the same key, and `session.lock` uses the same keys.
 */
import { keyForName, nameForKey } from '@holdfast/client'
import { isKey } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { Stage } from '../e2e/stage.js'
import { quickOrFullRuns } from '../support/counts.js'

/** Generates strings of any UTF-16 units, often with parts of escaped keys. */
const nameArbitrary = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '~name:',
        '~',
        '%',
        '%0000',
        '%D800',
        'D',
        '0',
        '\0',
        '\uD800',
        '\uDC00',
        'é',
      ),
      fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
    ),
    // Short enough that every name has a key.
    { maxLength: 20 },
  )
  .map((parts) => parts.join(''))

describe('names of session.locks', () => {
  const stage = Stage.forEachTest()

  it('are used as keys if they are valid keys without the prefix `~name:`', () => {
    // A key has at most 512 bytes.
    for (const name of ['a', 'orders:42', '%', '~', '~name', 'é', '🔒', ' ', 'x'.repeat(512)]) {
      expect(keyForName(name)).to.equal(name)
      expect(nameForKey(name)).to.equal(name)
    }
  })

  it('are escaped to keys with the prefix `~name:` in all other cases', () => {
    expect(keyForName('')).to.equal('~name:')
    expect(keyForName('\0')).to.equal('~name:%0000')
    expect(keyForName('a\uD800%é')).to.equal('~name:a%D800%0025é')
    expect(keyForName('~name:')).to.equal('~name:~name:')
  })

  it('come back unchanged, and no two names have the same key', () => {
    fc.assert(
      fc.property(nameArbitrary, nameArbitrary, (name, otherName) => {
        const key = keyForName(name)!
        expect(isKey(key)).to.equal(true)
        expect(nameForKey(key)).to.equal(name)
        if (name !== otherName) expect(keyForName(otherName)).not.to.equal(key)
      }),
      quickOrFullRuns(1_000, 100_000),
    )
  })

  it('may be any 101 UTF-16 units, and are refused if their key would be too long', async () => {
    // A key has at most 512 bytes in UTF-8: the prefix has 6 bytes, and each escape has 5.
    expect(isKey(keyForName('\uD800'.repeat(101)))).to.equal(true)
    const { sessions } = await stage.startBrokerWithSessions('one')
    // With the prefix, the keys would have 519, 516 and 519 bytes.
    for (const longName of ['x'.repeat(513), '\0'.repeat(102), '锁'.repeat(171)]) {
      expect(keyForName(longName)).to.equal(undefined)
      const error = await sessions[0]!.locks.request(longName, () => {}).catch((e: Error) => e)
      expect(error).to.be.instanceOf(DOMException).and.include({ name: 'NotSupportedError' })
    }
  })

  it('have escaped keys that session.lock refuses', async () => {
    const { sessions } = await stage.startBrokerWithSessions('one')
    const session = sessions[0]!
    const requests: ((key: string) => Promise<unknown>)[] = [
      (key) => session.lock(key),
      (key) => session.tryLock(key),
      (key) => session.withLock(key, () => {}),
      (key) => session.singleflightLock(key),
    ]
    for (const request of requests) {
      for (const key of ['~name:', '~name:%0000', '~name:orders']) {
        const error = await request(key).catch((e: Error) => e)
        expect(error).to.include({ code: 'INVALID_KEY' })
        expect((error as Error).message).to.match(/~name:.*session\.locks/)
      }
    }
    expect((await session.query({ prefix: '~name:' })).heldCount).to.equal(0)
  })

  it('stand for the same locks as equal keys of session.lock', async () => {
    const { sessions } = await stage.startBrokerWithSessions('one', 'other')
    const [session, otherSession] = sessions
    const lock = await session!.lock('orders:42', { metadata: { page: 7 } })
    const isFree = () =>
      otherSession!.locks.request('orders:42', { ifAvailable: true }, (webLock) => webLock !== null)
    expect(await isFree()).to.equal(false)
    await lock.unlock()
    await otherSession!.locks.request('orders:42', { metadata: 'mine' }, async (webLock) => {
      const error = await session!.tryLock('orders:42').catch((e: Error) => e)
      expect(error).to.include({ code: 'LOCK_HELD' })
      const { held } = await session!.query({ key: 'orders:42' })
      expect(held).to.have.length(1)
      expect(held[0]).to.include({ fence: webLock?.fence, metadata: 'mine', name: 'other' })
    })
    expect(await isFree()).to.equal(true)
  })
})
