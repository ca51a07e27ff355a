/** Tests the rules for keys of locks and prefixes of keys, and the UTF-8 length of texts. */
import { isKey, isPrefix, maxKeyBytes, utf8Length } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'

/** Random UTF-16, with lone surrogates and control characters. */
const anyText = fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map(String.fromCharCode) })
/** Random texts without lone surrogates. */
const wellFormed = fc.string({ unit: 'binary', maxLength: 300 })

/**
 * A second implementation of the rule for keys, for comparison. This function encodes the text to
 * UTF-8 and back, counts the bytes, and checks each character.
 */
function isKeyBySpecification(text: string): boolean {
  const bytes = Buffer.from(text, 'utf8')
  if (bytes.toString('utf8') !== text) return false
  if (bytes.length < 1 || bytes.length > 512) return false
  return Array.from(text).every((character) => {
    const point = character.codePointAt(0)!
    return point > 0x1f && !(point >= 0x7f && point <= 0x9f)
  })
}

describe('shared: isKey', () => {
  it('accepts texts of 1 to 512 bytes of UTF-8', () => {
    expect(isKey('')).to.equal(false)
    expect(isKey('k')).to.equal(true)
    expect(isKey('k'.repeat(maxKeyBytes))).to.equal(true)
    expect(isKey('k'.repeat(maxKeyBytes + 1))).to.equal(false)
    expect(isKey('é'.repeat(256))).to.equal(true)
    expect(isKey(`${'é'.repeat(256)}k`)).to.equal(false)
    expect(isKey('€'.repeat(170))).to.equal(true)
    expect(isKey('€'.repeat(171))).to.equal(false)
    expect(isKey('😀'.repeat(128))).to.equal(true)
    expect(isKey(`${'😀'.repeat(128)}k`)).to.equal(false)
  })

  it('rejects control characters: C0, DEL and C1', () => {
    for (let point = 0; point <= 0xff; point++) {
      const isControl = point < 0x20 || (point >= 0x7f && point < 0xa0)
      const key = `a${String.fromCharCode(point)}b`
      expect(isKey(key), `U+${point.toString(16)}`).to.equal(!isControl)
    }
    expect(isKey('orders:42\n')).to.equal(false)
  })

  it('rejects a lone surrogate at every position', () => {
    for (const text of [
      '\ud800',
      '\udfff',
      'a\ud83d',
      '\ud83da',
      '\ude00\ud83d',
      '\ud83d\ud83d\ude00',
    ]) {
      expect(isKey(text), JSON.stringify(text)).to.equal(false)
    }
    expect(isKey('\ud83d\ude00')).to.equal(true)
  })

  it('accepts names such as __proto__', () => {
    for (const key of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      expect(isKey(key)).to.equal(true)
    }
  })

  it('rejects values that are not strings', () => {
    for (const value of [
      undefined,
      null,
      0,
      1,
      true,
      {},
      [],
      ['k'],
      { toString: () => 'k' },
      Symbol(),
    ]) {
      expect(isKey(value)).to.equal(false)
    }
  })

  it('agrees with a second implementation on random texts', () => {
    const property = fc.property(fc.oneof(anyText, wellFormed), (text) => {
      expect(isKey(text)).to.equal(isKeyBySpecification(text))
    })
    fc.assert(property, quickOrFullRuns(500, 20_000))
  })

  it('has the same rules as isPrefix, except that a prefix may be empty', () => {
    expect(isPrefix('')).to.equal(true)
    expect(isPrefix('orders:')).to.equal(true)
    expect(isPrefix('a\u0000')).to.equal(false)
    expect(isPrefix('\ud800')).to.equal(false)
    expect(isPrefix(undefined)).to.equal(false)
    expect(isPrefix('k'.repeat(513))).to.equal(false)
  })
})

describe('shared: utf8Length', () => {
  it('counts like Buffer.byteLength, also for lone surrogates', () => {
    const property = fc.property(fc.oneof(anyText, wellFormed), (text) => {
      expect(utf8Length(text)).to.equal(Buffer.byteLength(text, 'utf8'))
    })
    fc.assert(property, quickOrFullRuns(500, 20_000))
  })

  it('counts a character outside ASCII at the start or at the end of a long text', () => {
    for (const text of [`é${'x'.repeat(100)}`, `${'x'.repeat(100)}é`]) {
      // 100 letters of one byte, and "é" with two bytes.
      expect(utf8Length(text)).to.equal(100 + 2)
    }
  })

  it('counts a long text of printable ASCII without `codePointAt`', () => {
    const originalMethod = String.prototype.codePointAt
    String.prototype.codePointAt = () => {
      throw new Error('The text is read character by character')
    }
    try {
      expect(utf8Length('x'.repeat(32_000))).to.equal(32_000)
    } finally {
      String.prototype.codePointAt = originalMethod
    }
  })

  it('counts the bytes at the limits of each UTF-8 length, and 3 bytes for a lone surrogate', () => {
    const lengths: [string, number][] = [
      ['', 0],
      ['\u007f', 1],
      ['\u0080', 2],
      ['\u07ff', 2],
      ['\u0800', 3],
      ['\uffff', 3],
      ['\u{10000}', 4],
      ['\u{10ffff}', 4],
      ['\ud800', 3],
      ['\ud800a', 4],
      ['\udc00\ud800', 6],
    ]
    for (const [text, length] of lengths) expect(utf8Length(text)).to.equal(length)
  })
})
