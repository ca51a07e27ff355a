/**
 * Tests `parseClientFrame`, which reads the most frequent frames of clients without `JSON.parse`.
 */
import { parseClientFrame } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { collectGarbage } from '../support/garbage.js'
import { comparesWithParseFrame, integer } from './frequentFrames.js'

const asciiKey = fc.string({ minLength: 0, maxLength: 40 })
/** Two thirds of the keys have only ASCII characters, and the others have any characters. */
const key = fc.oneof(asciiKey, asciiKey, fc.string({ unit: 'binary', maxLength: 20 }))

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

/** Some of these pongs are not JSON, or have the field `n` twice. */
const pong = fc
  .tuple(integer, fc.constantFrom('', ',"idle":true', ',"idle":false', ',"idle":tru', ',"n":1'))
  .map(([n, lastField]) => `{"type":"pong","n":${n}${lastField}}`)

/** The bytes of the heap that are in use after a garbage collection. */
function usedHeapBytes(): number {
  collectGarbage()
  return process.memoryUsage().heapUsed
}

describe('shared: parseClientFrame', () => {
  comparesWithParseFrame(parseClientFrame, fc.oneof(lock, unlock, pong), [
    '{"type":"lock","id":7,"key":"orders/5","ttl":30000,"timeout":0}',
    '{"type":"unlock","id":8,"fence":1836018073600001}',
    '{"type":"pong","n":0}',
    '{"type":"pong","n":7,"idle":true}',
  ])

  it('returns keys that do not keep their frames in memory', () => {
    // V8 may make a part of a text a reference to the whole text.
    const frameCount = 300
    // About 60 KiB.
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
    // A tenth of the bytes of all frames: far more than the keys need, and far less than the frames
    // need.
    expect(addedBytes, 'bytes that the keys keep').to.be.below((frameCount * padding.length) / 10)
  })
})
