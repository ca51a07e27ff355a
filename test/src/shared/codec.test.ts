/**
 * Tests the codec, which joins messages into frames (`joinIntoFrames`) and parses frames
 * (`parseFrame`). Messages and their order must stay the same, and a frame of several messages must
 * not be longer than the limit.
 */
import { joinIntoFrames, maxOutputFrameBytes, parseFrame } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'

/** Makes random messages. */
const message = fc.oneof(
  fc.record({ type: fc.string(), id: fc.integer() }),
  fc.record({ type: fc.constant('event'), text: fc.string({ unit: 'binary', maxLength: 60 }) }),
  fc.record({ deep: fc.jsonValue({ maxDepth: 3 }) }),
)

const parse = (frame: string) => parseFrame(frame) ?? expect.fail(`not a frame: ${frame}`)

describe('shared: parseFrame', () => {
  it('returns the elements of an array, and a single object as a list of one', () => {
    expect(parseFrame('{"type":"bye"}')).to.deep.equal([{ type: 'bye' }])
    expect(parseFrame('[{"type":"bye"}]')).to.deep.equal([{ type: 'bye' }])
    expect(parseFrame(' [ 1 , [] , null ] ')).to.deep.equal([1, [], null])
  })

  it('returns undefined for a text that is not a frame', () => {
    for (const text of [
      '',
      ' ',
      '[]',
      '1',
      '"a"',
      'true',
      'null',
      '{',
      '[1',
      '{}{}',
      'NaN',
      "{'a':1}",
    ]) {
      expect(parseFrame(text), text).to.equal(undefined)
    }
  })

  it('never throws and never returns an empty list', () => {
    const text = fc.oneof(fc.string(), fc.json(), fc.string({ unit: 'binary' }))
    const property = fc.property(text, (input) => parseFrame(input)?.length !== 0)
    fc.assert(property, quickOrFullRuns(300, 10_000))
  })

  it('treats names such as __proto__ as ordinary fields', () => {
    const [object] = parse('{"__proto__":{"type":"bye"},"constructor":1}') as [{ type?: string }]
    expect(Object.keys(object)).to.deep.equal(['__proto__', 'constructor'])
    expect(object.type).to.equal(undefined)
  })
})

describe('shared: joinIntoFrames', () => {
  it('joins several messages into an array, and returns a lone message as it is', () => {
    expect(joinIntoFrames(['{"a":1}'])).to.deep.equal(['{"a":1}'])
    expect(joinIntoFrames(['{"a":1}', '{"b":2}'])).to.deep.equal(['[{"a":1},{"b":2}]'])
  })

  it('returns no frame for an empty list of messages', () => {
    expect(joinIntoFrames([])).to.deep.equal([])
  })

  it('keeps messages and their order, in frames within the limit', () => {
    const property = fc.property(
      fc.array(message, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 400 }),
      (messages, maxBytes) => {
        const texts = messages.map((value) => JSON.stringify(value))
        const frames = joinIntoFrames(texts, maxBytes)
        expect(frames.flatMap(parse)).to.deep.equal(texts.map((text) => JSON.parse(text)))
        for (const frame of frames) {
          const isSingleMessage = texts.includes(frame)
          expect(isSingleMessage || Buffer.byteLength(frame) <= maxBytes, frame).to.equal(true)
        }
      },
    )
    fc.assert(property, quickOrFullRuns(300, 10_000))
  })

  it('fills each frame: the first message of the next frame would exceed the limit', () => {
    const property = fc.property(
      fc.array(message, { minLength: 2, maxLength: 40 }),
      fc.integer({ min: 20, max: 400 }),
      (messages, maxBytes) => {
        const texts = messages.map((value) => JSON.stringify(value))
        const frames = joinIntoFrames(texts, maxBytes)
        // `i` counts from the second frame, so `frames[i]` is the frame before `frame`.
        for (const [i, frame] of frames.slice(1).entries()) {
          const firstMessage = JSON.stringify(parse(frame)[0])
          const previousMessages = parse(frames[i]!).map((value) => JSON.stringify(value))
          const joined = `[${[...previousMessages, firstMessage].join(',')}]`
          expect(Buffer.byteLength(joined)).to.be.greaterThan(maxBytes)
        }
      },
    )
    fc.assert(property, quickOrFullRuns(300, 10_000))
  })

  it('fills a frame to the last byte of UTF-8', () => {
    // Two brackets and a comma.
    const joiningBytes = 3
    // Each of the two messages is a string in two quotes.
    const quoteBytes = 2
    const stringBytes = maxOutputFrameBytes - joiningBytes - 2 * quoteBytes
    // The character "é" has 2 bytes in UTF-8, so these fill half of `stringBytes`.
    const half = `"${'é'.repeat(stringBytes >> 2)}"`
    const bytesLeft = maxOutputFrameBytes - joiningBytes - Buffer.byteLength(half) - quoteBytes
    const frames = joinIntoFrames([half, `"${'x'.repeat(bytesLeft)}"`])
    expect(frames.map((frame) => Buffer.byteLength(frame))).to.deep.equal([maxOutputFrameBytes])
    // With one byte more, the messages need two frames.
    expect(joinIntoFrames([half, `"${'x'.repeat(bytesLeft + 1)}"`])).to.have.length(2)
  })

  it('puts a message that is longer than the limit into a frame of its own', () => {
    const longText = `"${'x'.repeat(100)}"`
    const frames = joinIntoFrames(['1', '2', longText, '3', '4'], 50)
    expect(frames).to.deep.equal(['[1,2]', longText, '[3,4]'])
  })
})
