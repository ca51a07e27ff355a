/**
 * Messages to frames and back: nothing is lost, doubled or out of order, and no frame is too big.
 */
import { joinFrames, maxOutputFrameBytes, parseFrame } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { runs } from '../support/counts.js'

const message = fc.oneof(
  fc.record({ type: fc.string(), id: fc.integer() }),
  fc.record({ type: fc.constant('event'), text: fc.string({ unit: 'binary', maxLength: 60 }) }),
  fc.record({ deep: fc.jsonValue({ maxDepth: 3 }) }),
)

const parse = (frame: string) => parseFrame(frame) ?? expect.fail(`not a frame: ${frame}`)

describe('shared: parseFrame', () => {
  it('is the elements of an array, or the one object', () => {
    expect(parseFrame('{"type":"bye"}')).to.deep.equal([{ type: 'bye' }])
    expect(parseFrame('[{"type":"bye"}]')).to.deep.equal([{ type: 'bye' }])
    expect(parseFrame(' [ 1 , [] , null ] ')).to.deep.equal([1, [], null])
  })

  it('is nothing for what is not a frame', () => {
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

  it('never throws, and never answers with an empty list', () => {
    const text = fc.oneof(fc.string(), fc.json(), fc.string({ unit: 'binary' }))
    const property = fc.property(text, (input) => parseFrame(input)?.length !== 0)
    fc.assert(property, runs(300, 10_000))
  })

  it('takes a name that objects have by nature as a field like any other', () => {
    const [object] = parse('{"__proto__":{"type":"bye"},"constructor":1}') as [{ type?: string }]
    expect(Object.keys(object)).to.deep.equal(['__proto__', 'constructor'])
    expect(object.type).to.equal(undefined)
  })
})

describe('shared: joinFrames', () => {
  it('sends one message as itself, and several as one array', () => {
    expect(joinFrames(['{"a":1}'])).to.deep.equal(['{"a":1}'])
    expect(joinFrames(['{"a":1}', '{"b":2}'])).to.deep.equal(['[{"a":1},{"b":2}]'])
  })

  it('makes no frame of no message', () => {
    expect(joinFrames([])).to.deep.equal([])
  })

  it('reads back as what was written, in order, in frames that fit', () => {
    const property = fc.property(
      fc.array(message, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 400 }),
      (messages, maxBytes) => {
        const texts = messages.map((one) => JSON.stringify(one))
        const frames = joinFrames(texts, maxBytes)
        expect(frames.flatMap(parse)).to.deep.equal(texts.map((text) => JSON.parse(text)))
        for (const frame of frames) {
          const alone = texts.includes(frame)
          expect(alone || Buffer.byteLength(frame) <= maxBytes, frame).to.equal(true)
        }
      },
    )
    fc.assert(property, runs(300, 10_000))
  })

  it('cuts as late as it can: two neighbouring frames would not fit into one', () => {
    const property = fc.property(
      fc.array(message, { minLength: 2, maxLength: 40 }),
      fc.integer({ min: 20, max: 400 }),
      (messages, maxBytes) => {
        const texts = messages.map((one) => JSON.stringify(one))
        const frames = joinFrames(texts, maxBytes)
        for (const [i, frame] of frames.slice(1).entries()) {
          const next = JSON.stringify(parse(frame)[0])
          const before = parse(frames[i]!).map((one) => JSON.stringify(one))
          const together = `[${[...before, next].join(',')}]`
          expect(Buffer.byteLength(together)).to.be.greaterThan(maxBytes)
        }
      },
    )
    fc.assert(property, runs(300, 10_000))
  })

  it('fills a frame to the last byte, counted in UTF-8', () => {
    const half = `"${'é'.repeat((maxOutputFrameBytes - 7) >> 2)}"`
    const rest = maxOutputFrameBytes - 3 - Buffer.byteLength(half)
    const fits = joinFrames([half, `"${'x'.repeat(rest - 2)}"`])
    expect(fits.map((frame) => Buffer.byteLength(frame))).to.deep.equal([maxOutputFrameBytes])
    expect(joinFrames([half, `"${'x'.repeat(rest - 1)}"`])).to.have.length(2)
  })

  it('lets a message that is too long go alone, between its neighbours', () => {
    const long = `"${'x'.repeat(100)}"`
    expect(joinFrames(['1', '2', long, '3', '4'], 50)).to.deep.equal(['[1,2]', long, '[3,4]'])
  })
})
