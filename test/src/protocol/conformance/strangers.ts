/**
 * The vectors over a socket. Whatever a stranger sends costs nobody but the stranger: it is
 * answered or closed as the vector says, nothing has changed, and a bystander has noticed nothing.
 */
import { expect } from 'chai'
import { textOf, type Vector, vectorFiles } from '../vectors.js'
import { type Peer, withToken } from './peer.js'
import { look, type Stage } from './stage.js'

export function strangers(stage: Stage): void {
  for (const kind of ['valid', 'invalid'] as const) {
    for (const { name, vectors } of vectorFiles(kind)) {
      describe(`vectors: ${name}`, () => {
        for (const vector of vectors) it(vector.name, () => tryVector(stage, vector))
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
  // A refusal changes nothing; and nobody's lock but the stranger's own can have changed by a lock.
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
    // A broker that wants a token gets one with every hello that it is to accept.
    stranger.sayText(JSON.stringify({ ...(JSON.parse(text) as object), ...token }))
  } else {
    stranger.sayText(text)
  }
}

/** What comes of a frame in place of the hello. */
async function expectFirst(stranger: Peer, { expect: { close } }: Vector): Promise<void> {
  if (close === undefined) await stranger.hear('welcome')
  else expect(await stranger.closed).to.include({ code: close })
}

/** What comes of a frame on a session: its refusals in order, its close code, or neither. */
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
  // What was accepted may not have been refused.
  const refusals = (await stranger.settle()).filter(
    (message) => message.type === 'failed' && refused.includes(message.code),
  )
  expect(refusals).to.deep.equal([])
}

const refused = ['BAD_MESSAGE', 'INVALID_KEY', 'INVALID_TTL', 'INVALID_TIMEOUT']
