/**
 * Tests cells: independent brokers or clusters, each of which serves a part of the keys. The cell
 * `2/4` is the second of four. A broker of a cell refuses a client that expects another cell, and
 * requests for keys of other cells. A hash of the key, its slot, decides which cell has the key.
 * These tests read the table of examples in PROTOCOL.md.
 */
import { createBroker } from '@holdfast/server'
import {
  cellOfSlot,
  cellText,
  closeCodes,
  type HoldfastError,
  parseCell,
  slotCount,
  slotOf,
} from '@holdfast/shared'
import { expect } from 'chai'
import { read } from '../conventions/repository.js'
import { RefusalRecorder } from '../ops/refusalRecorder.js'
import { BrokerHarness } from './harness.js'

/** Computes CRC-16/XMODEM bit by bit, as the definition says. */
function checksumByDefinition(bytes: Uint8Array): number {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) {
      crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff
    }
  }
  return crc
}

/** A key that belongs to the cell `number` of `count`. */
function keyOf(number: number, count: number): string {
  for (let i = 0; ; i++) if (cellOfSlot(slotOf(`k${i}`), count) === number) return `k${i}`
}

describe('cells: the slot of a key', () => {
  const section = /\n### Cells\n(.*?)\n## /s.exec(read('shared/PROTOCOL.md').text)![1]!
  const rows = section.split('\n').filter((line) => line.startsWith('| `'))

  it('equals the slot of each example in PROTOCOL.md, and leads to the cells of the example', () => {
    // With fewer rows, the patterns above miss a part of the table.
    expect(rows.length).to.be.above(10)
    for (const row of rows) {
      const [key, ...numbers] = row.split('|').slice(1, -1)
      const name = key!.trim().slice(1, -1)
      const slot = slotOf(name)
      // The last three columns are the number of the key's cell among 2, 3 and 4 cells.
      const cells = [2, 3, 4].map((count) => cellOfSlot(slot, count))
      expect([slot, ...cells], name).to.deep.equal(numbers.map(Number))
    }
  })

  it('is the CRC-16/XMODEM of the UTF-8 bytes modulo 1,024, also beyond ASCII', () => {
    // The published check value of CRC-16/XMODEM.
    expect(checksumByDefinition(Buffer.from('123456789'))).to.equal(0x31c3)
    const characters = ['a', '~', '\u0080', '\u07ff', '\u0800', '\uffff', '\u{10000}', '\u{10ffff}']
    for (const first of characters) {
      for (const second of characters) {
        const key = `${first}/${second}${first}`
        expect(slotOf(key), key).to.equal(checksumByDefinition(Buffer.from(key)) % slotCount)
      }
    }
  })

  it('depends only on the tag in braces, if the key has a tag', () => {
    expect(slotOf('{order:42}:items')).to.equal(slotOf('order:42'))
    expect(slotOf('a{order:42}b{c}')).to.equal(slotOf('order:42'))
    // Only the first `{` can begin a tag, and a tag is not empty. So these keys have no tag.
    for (const key of ['a{}b', 'a{b', 'a}b{', '{}{b}']) {
      const slot = checksumByDefinition(Buffer.from(key)) % slotCount
      expect(slotOf(key), key).to.equal(slot)
    }
  })

  it('belongs to exactly one cell, and every cell has its share of slots', () => {
    for (const count of [1, 2, 3, 4, 16, 1_000, slotCount]) {
      const shares = new Map<number, number>()
      for (let slot = 0; slot < slotCount; slot++) {
        const number = cellOfSlot(slot, count)
        shares.set(number, (shares.get(number) ?? 0) + 1)
      }
      expect([...shares.keys()]).to.deep.equal(Array.from({ length: count }, (_, i) => i + 1))
      const share = slotCount / count
      for (const slots of shares.values()) {
        expect(slots).to.be.within(Math.floor(share), Math.ceil(share))
      }
    }
  })
})

describe('cells: the text of a cell', () => {
  it('has only one valid form, such as 3/4', () => {
    expect(parseCell('3/4')).to.deep.equal({ number: 3, count: 4 })
    expect(cellText({ number: 1_024, count: 1_024 })).to.equal('1024/1024')
    expect(parseCell('1024/1024')).to.deep.equal({ number: 1_024, count: 1_024 })
    const invalidCells = [
      '',
      '1',
      '0/4',
      '5/4',
      '1/0',
      '01/4',
      '1/1025',
      '1/4 ',
      '+1/4',
      '1.0/4',
      1,
      null,
    ]
    for (const value of invalidCells) expect(parseCell(value), String(value)).to.equal(undefined)
  })
})

describe('cells: a broker with a cell', () => {
  it('says its cell in welcome, and accepts clients with its cell and without a cell', () => {
    const harness = new BrokerHarness({ cell: '2/4' })
    for (const hello of [{ cell: '2/4' }, {}]) {
      const [welcome] = harness.connectWithHello(hello).takeMessagesOfType('welcome')
      expect(welcome?.cell).to.equal('2/4')
    }
    const [welcome] = new BrokerHarness().connectWithHello({}).takeMessagesOfType('welcome')
    expect(welcome).to.not.have.property('cell')
  })

  it('closes with 4421 for a client that expects another cell or count', () => {
    const cases: [string | undefined, string, string][] = [
      ['2/4', '1/4', 'is cell 2/4, but the client expects 1/4'],
      ['2/4', '2/3', 'is cell 2/4, but the client expects 2/3'],
      [undefined, '1/1', 'has no cell, but the client expects 1/1'],
    ]
    for (const [cell, expected, text] of cases) {
      const refusals = new RefusalRecorder()
      const harness = new BrokerHarness({ cell, observer: refusals })
      const socket = harness.connectWithHello({ cell: expected })
      const reason = `wrong cell: this broker ${text}`
      expect(socket.closedWith).to.deep.equal({ code: closeCodes.wrongCell.code, reason })
      // The reason of a WebSocket close has at most 123 bytes.
      expect(Buffer.byteLength(reason)).to.be.at.most(123)
      expect(harness.broker.table.sessions.size).to.equal(0)
      expect(refusals.causes).to.deep.equal(['cell'])
    }
  })

  it('refuses each request for a key of another cell, and changes nothing', () => {
    const [ownKey, otherKey] = [keyOf(2, 4), keyOf(3, 4)]
    const requests: object[] = [
      { type: 'lock', key: otherKey },
      { type: 'lock', key: otherKey, steal: true },
      { type: 'lock', key: otherKey, capacity: 2 },
      { type: 'lockAll', items: [{ key: ownKey }, { key: otherKey }] },
      { type: 'campaign', key: otherKey },
      { type: 'once', key: otherKey },
      { type: 'barrier', key: otherKey, parties: 2 },
    ]
    const refusals = new RefusalRecorder()
    const harness = new BrokerHarness({ cell: '2/4', observer: refusals })
    const client = harness.openSession()
    for (const [i, request] of requests.entries()) client.say({ ...request, id: i + 1 })
    const failures = client.socket.takeMessagesOfType('failed')
    expect(failures.map(({ id, code }) => [id, code])).to.deep.equal(
      requests.map((_, i) => [i + 1, 'INVALID_KEY']),
    )
    expect(failures[0]!.message).to.equal(
      'the key belongs to cell 3 of 4, and this broker serves cell 2',
    )
    expect(refusals.causes).to.deep.equal(requests.map(() => 'cell'))
    expect(harness.broker.table.keys.size).to.equal(0)
    // The refused requests have not used up their ids, so the client may use the ids again.
    client.say({ type: 'lock', id: 1, key: ownKey })
    client.say({
      type: 'lockAll',
      id: 2,
      items: [{ key: `{${ownKey}}a` }, { key: `{${ownKey}}b` }],
    })
    expect(client.socket.takeMessagesOfType('granted').map(({ id }) => id)).to.deep.equal([1, 2])
  })

  it('cannot be created with an invalid cell', () => {
    for (const cell of ['5/4', '1', 'one', '1/1025']) {
      expect(() => createBroker({ cell }))
        .to.throw(`cell must be a number and a count from 1 to 1024, such as "1/4", not "${cell}"`)
        .with.property('code', 'INVALID_OPTION' satisfies HoldfastError['code'])
    }
  })
})
