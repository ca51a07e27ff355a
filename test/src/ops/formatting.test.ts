/** Tests how the command `holdfast` parses and formats durations, names, numbers and tables. */
import {
  durationParser,
  formatTable,
  integerParser,
  nearestName,
  parseDuration,
  span,
} from '@holdfast/server/internal'
import { expect } from 'chai'

describe('the formatting of holdfast', () => {
  it('parses durations', () => {
    const texts = ['0', '500ms', '10s', '2m', '1.5m', '0.001s', '2h']
    expect(texts.map(parseDuration)).to.deep.equal([0, 500, 10_000, 120_000, 90_000, 1, 7_200_000])
    // The greatest duration that a timer of Node can have.
    expect(parseDuration('2147483647ms')).to.equal(2 ** 31 - 1)
    for (const text of ['', ' 5', '5 s', '-1', '1e3', '.5s', '0.0001s', '5d', '2147483648ms']) {
      expect(() => parseDuration(text), text).to.throw(/It must be a time/)
    }
  })

  it('refuses a number without a unit, and names the units', () => {
    for (const text of ['1', '500', '0.5', '2147483648']) {
      const message = `It has no unit: write the unit, as in ${text}s or ${text}ms.`
      expect(() => parseDuration(text), text).to.throw(message)
    }
  })

  it('formats durations in their two largest units', () => {
    const seconds = [1, 59.9, 60, 192, 3_599, 3_600, 3_605, 3_660, 86_399, 86_400, 90_061]
    expect([0, 0.4, 999].map(span)).to.deep.equal(['0ms', '0ms', '999ms'])
    const spans = '1s, 59s, 1m, 3m 12s, 59m 59s, 1h, 1h, 1h 1m, 23h 59m, 1d, 1d 1h'
    expect(seconds.map((count) => span(count * 1_000)).join(', ')).to.equal(spans)
  })

  it('suggests the most similar name, or no name if none is similar', () => {
    const names = ['port', 'host', 'fenceFile', 'locksPerSession']
    const misspelt = ['prot', 'HOST', 'fencefle', 'lockPerSessions', 'drain', 'zzz']
    const suggested = ['port', 'host', 'fenceFile', 'locksPerSession', undefined, undefined]
    expect(misspelt.map((name) => nearestName(name, names))).to.deep.equal(suggested)
    expect(nearestName('port', [])).to.equal(undefined)
  })

  it('aligns the cells of a table under the column names', async () => {
    const rows = [
      ['orders:42', '', '1'],
      ['é😀', 'ann', '10'],
    ]
    expect(await formatTable(['KEY', 'WHO', 'N'], rows)).to.deep.equal([
      'KEY        WHO  N',
      'orders:42       1',
      'é😀        ann  10',
    ])
  })

  it('aligns wide characters and combining marks as a terminal shows them', async () => {
    const keys = ['日本語', 'ｱｲｳ', 'e\u0301te\u0301', '🔒🔒', '👍🏽', '한국', 'Ａ', 'plain']
    const rows = keys.map((key) => [key, '|'])
    const lines = (await formatTable(['KEY', 'N'], rows)).slice(1)
    // The width of each key on a terminal. After the widest key, of width 6, come two spaces. So
    // every `|` must have 8 character cells before it.
    const widths = [6, 3, 3, 4, 2, 4, 2, 5]
    for (const [i, line] of lines.entries()) {
      const spaces = /( +)\|$/.exec(line)![1]!.length
      expect(widths[i]! + spaces, keys[i]).to.equal(8)
    }
  })

  it('names the range in the error for an invalid number or time', () => {
    expect(() => durationParser(1_000, 60_000)('500ms')).to.throw('a time from 1s to 1m')
    expect(() => durationParser(100, 2 ** 31 - 1)('99ms')).to.throw('from 100ms to 2147483647ms')
    expect(durationParser(1_000, 60_000)('1m')).to.equal(60_000)
    for (const text of ['-1', '65536', '1.5', '', '0x1', '1e3', ' 1']) {
      expect(() => integerParser(0, 65_535)(text), text).to.throw('a whole number from 0 to 65535')
    }
    expect(() => integerParser(1, Number.MAX_SAFE_INTEGER)('0')).to.throw('at least 1')
    // 9007199254740993 is 2 ** 53 + 1, the smallest integer that is no JavaScript number.
    expect(() => integerParser(1, Number.MAX_SAFE_INTEGER)('9007199254740993')).to.throw('whole')
  })
})
