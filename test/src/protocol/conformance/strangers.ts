/**
 * Sends the vectors over a socket. The broker answers or closes as the vector says, no lock
 * changes, and another client (the bystander) receives nothing.
 */
import { expect } from 'chai'
import { textOf, titleOf, type Vector, vectorFiles } from '../vectors.js'
import { type Peer, withToken } from './peer.js'
import { look, type Stage } from './stage.js'

export function strangers(stage: Stage): void {
  for (const kind of ['valid', 'invalid'] as const) {
    for (const { name, vectors } of vectorFiles(kind)) {
      describe(`vectors: ${name}`, () => {
        for (const vector of vectors) it(titleOf(kind, vector), () => tryVector(stage, vector))
      })
    }
  }
}

async function tryVector(stage: Stage, vector: Vector): Promise<void> {
  const bystander = await stage.open()
  const key = stage.key('bystander')
  await bystander.take(key)
  const stranger = vector.when === 'first' ? await stage.connect() : await stage.open(vector.hello)
  const before = await look(bystander, {})
  say(stranger, vector, withToken(await stage.target()))
  if (vector.when === 'first') await expectFirst(stranger, vector)
  else await expectOutcome(stranger, vector)
  const { accepted = [] } = vector.expect
  const after = await look(bystander, {})
  // Only an accepted `lock` may change what is held, and only for the sender.
  if (!accepted.includes('lock')) expect(after).to.deep.equal(before)
  expect(after.held.map((lock) => lock.key)).to.include(key)
  expect(await bystander.settle()).to.deep.equal([])
}

function say(stranger: Peer, vector: Vector, token: { token?: string }): void {
  const text = textOf(vector)
  if (text === undefined) {
    const { bytes, binary } = vector
    stranger.sayBytes(Buffer.from(bytes ?? binary ?? '', 'hex'), binary !== undefined)
  } else if (vector.expect.accepted?.includes('hello') && token.token !== undefined) {
    // A broker that requires a token gets one with every `hello` that it must accept.
    stranger.sayText(JSON.stringify({ ...(JSON.parse(text) as object), ...token }))
  } else {
    stranger.sayText(text)
  }
}

/** Checks the reaction to a frame in place of the `hello`. */
async function expectFirst(stranger: Peer, { expect: { close } }: Vector): Promise<void> {
  if (close === undefined) await stranger.hear('welcome')
  else expect(await stranger.closed).to.include({ code: close })
}

/** Checks the reaction to a frame on a session: refusals in order, a close code, or neither. */
async function expectOutcome(stranger: Peer, vector: Vector): Promise<void> {
  const { failed = [], close } = vector.expect
  for (const { id, code } of failed) {
    const answer = await stranger.hear('failed', (message) => message.id === id)
    expect(answer).to.include({ code })
    expect(answer.message).to.be.a('string').with.length.above(0)
  }
  if (close !== undefined) {
    expect(await stranger.closed).to.include({ code: close })
    return
  }
  // The broker must not refuse what the vector says is accepted.
  const refusals = (await stranger.settle()).filter(
    (message) => message.type === 'failed' && refused.includes(message.code),
  )
  expect(refusals).to.deep.equal([])
}

const refused = ['BAD_MESSAGE', 'INVALID_KEY', 'INVALID_TTL', 'INVALID_TIMEOUT']
