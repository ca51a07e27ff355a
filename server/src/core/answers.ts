/**
 * The answers without content of their own, such as `unlocked`, and the check whether a stored
 * answer belongs to a request. The table stores an answer until the client acknowledges the answer.
 */
import type { RequestType } from './plainRecords.js'
import type { Answer } from './records.js'

/** For each kind of answer: the type of the requests that it answers. */
const requestTypeOfAnswer = {
  granted: 'lock',
  unlocked: 'unlock',
  upgraded: 'upgrade',
  downgraded: 'downgrade',
  scopeEnded: 'endScope',
  refreshed: 'refresh',
  proclaimed: 'proclaim',
  revoked: 'revoke',
  passed: 'barrier',
  // The answer to a `once` (a function that runs once for all callers of a key). A `once` counts as
  // a `lock`, because its answer can also be `granted`, as for a `lock`.
  result: 'lock',
} as const

/**
 * Whether an answer can belong to a request of this type. In a snapshot of an older broker, a
 * `LOCK_NOT_HELD` lacks the type of its request, so the answer fits `unlock`, `refresh` and
 * `revoke`. Every other failure without a type is the answer to a `lock`.
 */
export function isAnswerTo(answer: Answer, type: RequestType): boolean {
  if (answer.kind !== 'failed') return requestTypeOfAnswer[answer.kind] === type
  if (answer.request !== undefined) return answer.request === type
  if (answer.code !== 'LOCK_NOT_HELD') return type === 'lock'
  // Older brokers have only these three types of requests that name a held lock.
  return type === 'unlock' || type === 'refresh' || type === 'revoke'
}

/** All sessions share these answers, so that a stored answer takes little memory. */
export const answers = {
  unlocked: { kind: 'unlocked' },
  scopeEnded: { kind: 'scopeEnded' },
  downgraded: { kind: 'downgraded' },
  revoked: { kind: 'revoked' },
  proclaimed: { kind: 'proclaimed' },
  notHeld: {
    unlock: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'unlock' },
    refresh: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'refresh' },
    proclaim: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'proclaim' },
    revoke: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'revoke' },
    upgrade: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'upgrade' },
    downgrade: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'downgrade' },
  },
} as const satisfies Record<string, Answer | Record<string, Answer>>
