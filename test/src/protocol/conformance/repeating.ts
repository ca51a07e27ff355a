/**
 * Tests of section 9 of PROTOCOL.md over a socket: a client sends a request whose id it has used
 * before. The broker never runs two requests with one id. If the types are the same, the broker
 * sends the stored answer again, or nothing while the first request waits. Otherwise, or without a
 * stored answer, the broker sends `failed` with BAD_MESSAGE. A broker that forbids `revoke` answers
 * every `revoke` with FORBIDDEN, also one with a used id.
 *
 * A fence is the number of a grant. A scope is one task of a session. A peer is a client without
 * the client library.
 */
import type { ClientMessage, ServerMessage } from '@holdfast/shared'
import { expect } from 'chai'
import type { Peer } from './peer.js'
import type { Stage } from './stage.js'

type Request = Extract<ClientMessage, { id: number }>
type Failed = Extract<ServerMessage, { type: 'failed' }>
/** A type of requests whose ids the broker remembers. Other types may repeat an id. */
type RequestType = Exclude<Request['type'], 'query' | 'watch' | 'stats' | 'auth'>

/** The types of one group count as one type when an id is repeated. */
const typeGroups: readonly (readonly RequestType[])[] = [
  ['lock', 'lockAll', 'campaign', 'once'],
  ['unlock', 'complete'],
  ['upgrade'],
  ['downgrade'],
  ['endScope'],
  ['refresh'],
  ['proclaim'],
  ['revoke'],
  ['barrier'],
]
const types = typeGroups.flat()
/** The types whose requests may wait. */
const waitingTypes = ['lock', 'lockAll', 'campaign', 'once', 'upgrade', 'barrier'] as const

/** The key of the lock that `revoke` names, besides its fence. */
const revokedKey = (stage: Stage): string => `${stage.prefix}held`

/** Makes a request of a type. */
type MakeRequest = (stage: Stage, id: number, fence: number) => Request

const requestOfType: { readonly [T in RequestType]: MakeRequest } = {
  lock: (stage, id) => ({ type: 'lock', id, key: stage.key() }),
  lockAll: (stage, id) => ({ type: 'lockAll', id, items: [{ key: stage.key() }] }),
  campaign: (stage, id) => ({ type: 'campaign', id, key: stage.key() }),
  once: (stage, id) => ({ type: 'once', id, key: stage.key() }),
  unlock: (_stage, id, fence) => ({ type: 'unlock', id, fence }),
  complete: (_stage, id, fence) => ({ type: 'complete', id, fence }),
  upgrade: (_stage, id, fence) => ({ type: 'upgrade', id, fence }),
  downgrade: (_stage, id, fence) => ({ type: 'downgrade', id, fence }),
  endScope: (_stage, id) => ({ type: 'endScope', id, scope: 1 }),
  refresh: (_stage, id, fence) => ({ type: 'refresh', id, fence }),
  proclaim: (_stage, id, fence) => ({ type: 'proclaim', id, fence }),
  revoke: (stage, id, fence) => ({
    type: 'revoke',
    id,
    key: revokedKey(stage),
    fence,
    reason: 'test',
  }),
  barrier: (stage, id) => ({ type: 'barrier', id, key: stage.key(), parties: 2, timeout: 0 }),
}

/** Acquires a lock for a request of this type to name. @returns the fence of the lock */
async function fenceFor(type: RequestType, peer: Peer, stage: Stage): Promise<number> {
  const key = type === 'revoke' ? revokedKey(stage) : stage.key()
  const lockType = type === 'complete' ? 'once' : type === 'proclaim' ? 'campaign' : 'lock'
  const mode = type === 'upgrade' ? ({ mode: 'shared' } as const) : {}
  return (await peer.hearAnswer('granted', peer.request({ type: lockType, key, ...mode }))).fence
}

/** Whether the broker regards two requests with these types and the same id as one request. */
function areSameType(a: RequestType, b: RequestType): boolean {
  return typeGroups.some((group) => group.includes(a) && group.includes(b))
}

/** Expects that the broker refuses a request of this type, because its id was used before. */
function expectRefused(answer: ServerMessage, type: RequestType): void {
  expect(answer.type, type).to.equal('failed')
  const codes = type === 'revoke' ? ['BAD_MESSAGE', 'FORBIDDEN'] : ['BAD_MESSAGE']
  expect((answer as Failed).code, type).to.be.oneOf(codes)
}

/** Whether this is the answer of a broker that forbids `revoke`. */
function isForbidden(type: RequestType, answer: ServerMessage): boolean {
  return type === 'revoke' && answer.type === 'failed' && answer.code === 'FORBIDDEN'
}

/** Defines the tests of repeated ids. */
export function repeating(stage: Stage): void {
  describe('repeated id: the broker', () => {
    for (const type of types) {
      it(`sends the answer to ${type} again, and BAD_MESSAGE to a request of another type`, async () => {
        const peer = await stage.openSession({ grace: 'lease' })
        const fence = await fenceFor(type, peer, stage)
        const id = peer.lastId + 1
        peer.say(requestOfType[type](stage, id, fence))
        const answer = await peer.hearAnswerTo(id)
        // A barrier of two parties with the timeout 0 fails. All others succeed, unless forbidden.
        if (type === 'barrier') expect(answer).to.include({ code: 'LOCK_TIMEOUT' })
        else if (!isForbidden(type, answer)) expect(answer.type).not.to.equal('failed')
        // A forbidden revoke has not used its id, so a request of another type would succeed.
        const repeatedTypes = isForbidden(type, answer) ? [type] : types
        for (const repeatedType of repeatedTypes) {
          peer.say(requestOfType[repeatedType](stage, id, fence))
          const repeated = await peer.hearAnswerTo(id)
          if (areSameType(type, repeatedType)) expect(repeated, repeatedType).to.deep.equal(answer)
          else expectRefused(repeated, repeatedType)
        }
      })
    }

    for (const type of waitingTypes) {
      it(`sends nothing to a repeated ${type} while the first waits, and BAD_MESSAGE to another type`, async () => {
        const holder = await stage.openSession()
        const peer = await stage.openSession({ grace: 'lease' })
        const key = stage.key()
        const mode = type === 'upgrade' ? 'shared' : 'exclusive'
        await holder.acquire(key, { mode })
        // Only an upgrade needs a lock. For the other types, any fence will do.
        const fence = type === 'upgrade' ? await peer.acquire(key, { mode }) : 1
        const id = peer.lastId + 1
        const firstRequests = {
          lock: { type: 'lock', id, key },
          lockAll: { type: 'lockAll', id, items: [{ key }] },
          campaign: { type: 'campaign', id, key },
          once: { type: 'once', id, key },
          upgrade: { type: 'upgrade', id, fence },
          barrier: { type: 'barrier', id, key, parties: 2 },
        } as const satisfies Record<typeof type, Request>
        peer.say(firstRequests[type])
        for (const repeatedType of types) {
          peer.say(requestOfType[repeatedType](stage, id, fence))
          if (areSameType(type, repeatedType)) {
            expect(await peer.unreadMessages(), repeatedType).to.deep.equal([])
          } else {
            expectRefused(await peer.hearAnswerTo(id), repeatedType)
          }
        }
        peer.say({ type: 'cancel', request: id })
        expect(await peer.hearAnswer('failed', id)).to.include({ code: 'ABORTED' })
      })
    }

    it('sends BAD_MESSAGE to every repeated request of a session without a grace, unless the first waits', async () => {
      // The broker stores no answers for this session.
      const peer = await stage.openSession()
      const barrier = { type: 'barrier', id: 1, key: stage.key(), parties: 2 } as const
      peer.say(barrier, barrier)
      expect(await peer.unreadMessages()).to.deep.equal([])
      for (const type of types) {
        const fence = await fenceFor(type, peer, stage)
        // `say` raises `lastId` to this id.
        const id = peer.lastId + 1
        peer.say(requestOfType[type](stage, id, fence))
        await peer.hearAnswerTo(id)
        peer.say(requestOfType[type](stage, id, fence))
        expectRefused(await peer.hearAnswerTo(id), type)
      }
    })
  })
}
