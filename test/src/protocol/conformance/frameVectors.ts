/**
 * Sends the vectors over a socket. A vector is a frame with the expected reaction of a broker. One
 * client sends the frame, which may be invalid. If `when` is `first`, the frame is the first of its
 * connection. The broker must react as the vector expects. Only an accepted request for locks may
 * change a lock. Another client, the bystander, must keep its lock and receive nothing.
 */
import { expect } from 'chai'
import { textOf, titleOf, type Vector, vectorFiles } from '../vectors.js'
import { type Peer, withToken } from './peer.js'
import { queryAll, type Stage } from './stage.js'

/** Defines a test for each vector. */
export function frameVectors(stage: Stage): void {
  for (const kind of ['valid', 'invalid'] as const) {
    for (const { name, vectors } of vectorFiles(kind)) {
      describe(`vectors: ${name}`, () => {
        for (const vector of vectors) it(titleOf(kind, vector), () => tryVector(stage, vector))
      })
    }
  }
}

/** The messages that request locks. */
const lockRequests = ['lock', 'lockAll', 'campaign', 'once'] as const

/** Sends a vector, and checks the reaction, the locks and the bystander. */
async function tryVector(stage: Stage, vector: Vector): Promise<void> {
  const bystander = await stage.openSession()
  const key = stage.key('bystander')
  await bystander.acquire(key)
  const sender =
    vector.when === 'first' ? await stage.connect() : await stage.openSession(vector.hello)
  const stateBefore = await queryAll(bystander, {})
  sendVector(sender, vector, withToken(await stage.target()))
  if (vector.when === 'first') await expectFirst(sender, vector)
  else await expectOutcome(sender, vector)
  const { accepted = [] } = vector.expect
  const stateAfter = await queryAll(bystander, {})
  const isLockRequest = lockRequests.some((type) => accepted.includes(type))
  if (!isLockRequest) expect(stateAfter).to.deep.equal(stateBefore)
  expect(stateAfter.held.map((lock) => lock.key)).to.include(key)
  expect(await bystander.unreadMessages()).to.deep.equal([])
}

/**
 * Sends the frame of a vector.
 *
 * @param tokenField The token for the broker to test; empty if this broker needs no token.
 */
function sendVector(sender: Peer, vector: Vector, tokenField: { token?: string }): void {
  const text = textOf(vector)
  if (text === undefined) {
    // `bytes` make a text frame that is not UTF-8, and `binary` makes a binary frame.
    const { bytes, binary } = vector
    sender.sayBytes(Buffer.from(bytes ?? binary ?? '', 'hex'), binary !== undefined)
  } else if (vector.expect.accepted?.includes('hello') && tokenField.token !== undefined) {
    // If the broker requires a token, a `hello` that the broker must accept needs the token.
    sender.sayText(JSON.stringify({ ...(JSON.parse(text) as object), ...tokenField }))
  } else {
    sender.sayText(text)
  }
}

/** Checks the reaction to the first frame of a connection. */
async function expectFirst(sender: Peer, { expect: { close } }: Vector): Promise<void> {
  if (close === undefined) await sender.hear('welcome')
  else expect(await sender.closed).to.include({ code: close })
}

/** Checks the reaction to a frame after the `hello`: refusals in order, and then maybe a close. */
async function expectOutcome(sender: Peer, vector: Vector): Promise<void> {
  const { failed = [], close } = vector.expect
  for (const { id, code } of failed) {
    const answer = await sender.hear('failed', (message) => message.id === id)
    expect(answer).to.include({ code })
    expect(answer.message).to.be.a('string').with.length.above(0)
  }
  if (close !== undefined) {
    expect(await sender.closed).to.include({ code: close })
    return
  }
  // An accepted message may fail with another code, such as LOCK_NOT_HELD.
  const refusals = (await sender.unreadMessages()).filter(
    (message) => message.type === 'failed' && refusalCodes.includes(message.code),
  )
  expect(refusals).to.deep.equal([])
}

/** The error codes with which a broker refuses an invalid message. */
const refusalCodes = ['BAD_MESSAGE', 'INVALID_KEY', 'INVALID_TTL', 'INVALID_TIMEOUT']
