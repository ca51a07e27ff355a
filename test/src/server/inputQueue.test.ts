/**
 * Tests the input queue of a paused connection: the queue returns the messages of all frames in
 * order, and parses a long frame part by part. The queue reports the cost of parsing with the first
 * message of each part, so the reported costs show how many parts are parsed.
 */
import { costOfParsing, InputQueue } from '@holdfast/server/internal'
import { parseFrame } from '@holdfast/shared'
import { expect } from 'chai'

/** Messages whose strings contain all characters that delimit messages and strings in JSON. */
const messages = Array.from({ length: 400 }, (_, i) => ({
  type: 'lock',
  id: i,
  key: `k "],[{ \\${i}`,
  metadata: [{ nested: ['}', ',', i], empty: '' }, '\\', []],
}))

/**
 * Removes all elements (messages that are not validated yet). Returns the elements, their arrival
 * times, and the costs of parsing that are not 0.
 */
function removeAll(queue: InputQueue) {
  const elements: unknown[] = []
  const costs: number[] = []
  const arrivalTimes: number[] = []
  for (let next = queue.removeNext(); next !== undefined; next = queue.removeNext()) {
    if (next === 'malformed') throw new Error('the frame is malformed')
    elements.push(next.element)
    arrivalTimes.push(next.at)
    if (next.parsingCost > 0) costs.push(next.parsingCost)
  }
  return { elements, costs, arrivalTimes }
}

describe('the input queue of a paused connection', () => {
  const longFrame = JSON.stringify(messages)

  it('parses a long frame part by part, and reports the cost of each part', () => {
    const queue = new InputQueue()
    queue.addFrame(longFrame, /* arrival time */ 1)
    const first = queue.removeNext()
    expect(first).to.have.property('element').that.deep.equals(messages[0])
    const { elements, costs } = removeAll(queue)
    expect(elements).to.deep.equal(messages.slice(1))
    // `first` has the cost of checking the whole frame and of parsing its first part. `costs` has
    // the costs of the later parts. A part ends with the first message that ends after 1,024
    // characters, and each message is shorter than that. So each part but the last has 1,024 to
    // 2,048 characters.
    expect(costs.length).to.be.within(longFrame.length / 2_048, longFrame.length / 1_024)
    // Parsing costs one unit of work per 64 characters. Arrays and objects would cost more in a
    // text of at least 2,048 characters, but every part is shorter.
    const costOfLaterParts = costs.reduce((sum, cost) => sum + cost, 0)
    expect(costOfLaterParts).to.be.within(
      0.95 * (longFrame.length / 64),
      1.05 * (longFrame.length / 64),
    )
    expect(queue.isEmpty).to.equal(true)
    expect(queue.chars).to.equal(0)
  })

  it('parses a short frame once', () => {
    const queue = new InputQueue()
    const shortFrame = JSON.stringify(messages.slice(0, 5))
    queue.addFrame(shortFrame, 1)
    const { elements, costs } = removeAll(queue)
    expect(elements).to.deep.equal(messages.slice(0, 5))
    expect(costs).to.deep.equal([costOfParsing(shortFrame)])
  })

  it('returns the rest of a frame, from any message on, and the later frames', () => {
    for (const text of [longFrame, JSON.stringify(messages, undefined, 2), ` \n ${longFrame} `]) {
      for (const nextIndex of [0, 1, 2, 17, 398, 399]) {
        const queue = new InputQueue()
        queue.addRest(text, 1, parseFrame(text)!, nextIndex)
        queue.addFrame('{"type":"bye"}', 2)
        const { elements, arrivalTimes } = removeAll(queue)
        expect(elements).to.deep.equal([...messages.slice(nextIndex), { type: 'bye' }])
        expect(arrivalTimes.at(-1)).to.equal(2)
        expect(new Set(arrivalTimes.slice(0, -1))).to.deep.equal(new Set([1]))
      }
    }
  })

  it('adds nothing if no message of the frame is left', () => {
    const queue = new InputQueue()
    queue.addRest(longFrame, 1, messages, messages.length)
    expect(queue.isEmpty).to.equal(true)
    expect(queue.removeNext()).to.equal(undefined)
  })

  it('returns elements that are not objects, and a long message, alone or in an array', () => {
    const elements = [...Array<unknown>(1_000).fill(7), null, 'x'.repeat(3_000), [1, [2]], true]
    const message = { type: 'lock', id: 1, key: 'k', metadata: 'm'.repeat(5_000) }
    const queue = new InputQueue()
    queue.addFrame(JSON.stringify(elements), 1)
    queue.addFrame(JSON.stringify(message), 2)
    queue.addFrame(JSON.stringify([message]), 3)
    expect(removeAll(queue).elements).to.deep.equal([...elements, message, message])
  })

  it('reports a malformed long frame before any of its messages', () => {
    for (const text of [
      longFrame.slice(0, -1),
      `${longFrame}]`,
      longFrame.replace('"id":399', '"id":0399'),
    ]) {
      const queue = new InputQueue()
      queue.addFrame(text, 1)
      expect(queue.removeNext()).to.equal('malformed')
    }
  })
})
