/**
 * Tests `parseClientFrame`, which reads the most frequent frames of clients without `JSON.parse`.
 * For every text it must return what `parseFrame` returns. Otherwise the broker would accept
 * messages that are not JSON, or would act on other values than the client wrote.
 */
import { parseClientFrame, parseFrame } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { runs } from '../support/counts.js'
import { collectGarbage } from '../support/garbage.js'

const integer = fc.oneof(
  fc.nat(),
  fc.maxSafeNat(),
  // Numbers at the limit of 16 digits, and beyond the integers that a number represents exactly.
  fc.bigInt(2n ** 53n - 3n, 2n ** 53n + 3n),
  fc.bigInt(10n ** 15n - 2n, 10n ** 17n),
)

const plainKey = fc.string({ minLength: 0, maxLength: 40 })
const key = fc.oneof(plainKey, plainKey, fc.string({ unit: 'binary', maxLength: 20 }))

const lock = fc
  .tuple(integer, key, fc.option(integer), fc.option(integer))
  .map(([id, name, ttl, timeout]) => {
    const ttlField = ttl === null ? '' : `,"ttl":${ttl}`
    const timeoutField = timeout === null ? '' : `,"timeout":${timeout}`
    return `{"type":"lock","id":${id},"key":${JSON.stringify(name)}${ttlField}${timeoutField}}`
  })

const unlock = fc
  .tuple(integer, integer)
  .map(([id, fence]) => `{"type":"unlock","id":${id},"fence":${fence}}`)

const frequent = fc.oneof(lock, unlock)
const rare = fc.constantFrom('{"type":"bye"}', '{"type":"ack","ids":[1,2]}', '1', '[]', 'null')

const frame = fc.oneof(
  frequent,
  fc.array(frequent, { minLength: 1, maxLength: 6 }).map((messages) => `[${messages.join()}]`),
  fc.array(fc.oneof(frequent, rare), { maxLength: 4 }).map((messages) => `[${messages.join()}]`),
)

/** Characters that have a meaning in JSON, and some that a string in JSON must not contain. */
const character = fc.constantFrom(...'"\\,:{}[]0123456789-+.eE u/', '\0', '\n', '\x7f', 'é', '')

/** A change of a text at one place, which is a fraction of its length. */
const change = fc.record({
  place: fc.double({ min: 0, max: 1, noNaN: true }),
  removedCount: fc.nat(2),
  added: character,
})

function changed(
  text: string,
  changes: readonly { place: number; removedCount: number; added: string }[],
) {
  let result = text
  for (const { place, removedCount, added } of changes) {
    const at = Math.floor(place * result.length)
    result = result.slice(0, at) + added + result.slice(at + removedCount)
  }
  return result
}

function usedHeapBytes(): number {
  collectGarbage()
  return process.memoryUsage().heapUsed
}

describe('shared: parseClientFrame', () => {
  it('returns what parseFrame returns for frames of lock and unlock', () => {
    const property = fc.property(frame, (text) => {
      expect(parseClientFrame(text)).to.deep.equal(parseFrame(text))
    })
    fc.assert(property, runs(2_000, 50_000))
  })

  it('returns what parseFrame returns for such a frame with changed characters', () => {
    const changes = fc.array(change, { minLength: 1, maxLength: 3 })
    const property = fc.property(frame, changes, (text, list) => {
      const input = changed(text, list)
      expect(parseClientFrame(input), input).to.deep.equal(parseFrame(input))
    })
    fc.assert(property, runs(5_000, 200_000))
  })

  it('returns what parseFrame returns for each beginning of a frame', () => {
    const messages = [
      '{"type":"lock","id":7,"key":"orders/5","ttl":30000,"timeout":0}',
      '{"type":"unlock","id":8,"fence":1836018073600001}',
    ]
    const text = `[${messages.join()}]`
    for (let length = 0; length <= text.length; length++) {
      const input = text.slice(0, length)
      expect(parseClientFrame(input), input).to.deep.equal(parseFrame(input))
    }
  })

  it('returns keys that do not keep their frames in memory', () => {
    const frameCount = 300
    const padding = `,{"type":"unlock","id":2,"fence":3}`.repeat(1_800)
    const keys: string[] = []
    const bytesBefore = usedHeapBytes()
    for (let i = 0; i < frameCount; i++) {
      const name = `orders/of/customer/${i}`
      const [message] = parseClientFrame(`[{"type":"lock","id":1,"key":"${name}"}${padding}]`) as [
        { key: string },
      ]
      keys.push(message.key)
    }
    const addedBytes = usedHeapBytes() - bytesBefore
    expect(keys).to.have.length(frameCount)
    expect(addedBytes, 'bytes that the keys keep').to.be.below((frameCount * padding.length) / 10)
  })
})
