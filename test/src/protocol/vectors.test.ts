/**
 * Tests the codec and the checks of client messages with the vectors, without a socket. A vector is
 * a frame with the expected reaction of a broker. The conformance suite sends the same vectors over
 * a socket.
 */
import { closeCodes, maxFrameBytes, maxHelloBytes, parseFrame } from '@holdfast/shared'
import { validate } from '@holdfast/shared/clientChecks'
import { expect } from 'chai'
import { type Expectation, textOf, titleOf, type Vector, vectorFiles } from './vectors.js'

/**
 * Predicts from the codec and the checks how a broker reacts to a text frame.
 *
 * @param when `first` if the frame is the first of its connection.
 */
function reactionTo(text: string, when: 'first' | undefined): Expectation {
  const limit = when === 'first' ? maxHelloBytes : maxFrameBytes
  if (Buffer.byteLength(text) > limit) return { close: closeCodes.tooBig.code }
  const close = closeCodes.badMessage.code
  const elements = parseFrame(text)
  if (elements === undefined) return { close }
  const accepted: string[] = []
  const failed: NonNullable<Expectation['failed']>[number][] = []
  const result = (end: Pick<Expectation, 'close'>) => ({
    ...(accepted.length > 0 ? { accepted } : {}),
    ...(failed.length > 0 ? { failed } : {}),
    ...end,
  })
  for (const [i, element] of elements.entries()) {
    const verdict = validate(element)
    const isFirstHello = verdict.type === 'hello' && when === 'first' && i === 0
    if (verdict.type !== 'refusal') {
      // The first message must be a `hello`, and no other message may be a `hello`. A broker also
      // accepts requests in the frame of the first `hello`, but no vector has such a frame.
      if (!isFirstHello && (verdict.type === 'hello' || when === 'first')) {
        return result({ close })
      }
      accepted.push(verdict.type)
    } else if (verdict.id !== undefined && when !== 'first') {
      failed.push({ id: verdict.id, code: verdict.code })
    } else {
      return result({ close })
    }
  }
  return result({})
}

/**
 * Whether a vector uses an id a second time. The checks accept the id, but the broker does not.
 */
const usesIdAgain = ({ name }: Vector) => name.includes('used before')

/** Compares the expectation of a vector with the predicted reaction. */
function check(vector: Vector): void {
  const text = textOf(vector)
  // A binary frame, or a text that is not UTF-8, does not reach the codec.
  if (text === undefined) {
    // 1007 is the code of the WebSocket protocol for text that is not UTF-8.
    expect(vector.expect.close).to.be.oneOf([1007, closeCodes.badMessage.code])
    return
  }
  const { failed: _, ...expectedWithoutFailed } = vector.expect
  // A vector may leave out the accepted messages. After two hellos, for instance, the broker closes
  // the connection before it answers the accepted first `hello`.
  const { accepted, ...reaction } = reactionTo(text, vector.when)
  const actual = vector.expect.accepted === undefined ? reaction : { accepted, ...reaction }
  expect(actual).to.deep.equal(usesIdAgain(vector) ? expectedWithoutFailed : vector.expect)
}

for (const kind of ['valid', 'invalid'] as const) {
  for (const { name, vectors } of vectorFiles(kind)) {
    describe(`vectors: ${name}`, () => {
      for (const vector of vectors) it(titleOf(kind, vector), () => check(vector))

      it('has vectors of one kind, each with its own name', () => {
        expect(new Set(vectors.map((vector) => vector.name)).size).to.equal(vectors.length)
        for (const { name: vectorName, expect: expected } of vectors) {
          const isValid = expected.failed === undefined && expected.close === undefined
          expect(isValid, vectorName).to.equal(kind === 'valid')
        }
      })
    })
  }
}
