/**
 * Writes an effect of a lock table as a short text. `TableDriver` returns these texts, so that a
 * test can list the effects that it expects from a command. Failure messages contain the texts too.
 */
import type { PlainAnswer, PlainEffect } from './plainValues.js'

/** Writes an answer without its request. `granted f7` means that the lock has the fence 7. */
function answerText(answer: PlainAnswer): string {
  switch (answer.kind) {
    case 'granted':
    case 'upgraded':
    case 'refreshed':
      return `${answer.kind} f${answer.fence}`
    case 'result':
      return `result f${answer.fence} ${answer.value}`
    case 'unlocked':
    case 'downgraded':
    case 'scopeEnded':
    case 'revoked':
    case 'proclaimed':
    case 'passed':
      return answer.kind
    case 'failed': {
      const holders = answer.holders?.map((holder) => `${holder.session} f${holder.fence}`)
      return holders === undefined ? answer.code : `${answer.code} by ${holders.join(', ')}`
    }
  }
}

/**
 * Writes an effect. `granted b#2 k f7` means that request 2 of session `b` was granted key `k` with
 * fence 7. `g` stands before the generation of a lock, which rises with every refresh. `@` stands
 * before an attach epoch, the number of a connection among those of its session. `repeat` in place
 * of `answer` marks an answer that the table does not store now: a repeated answer or a refusal.
 */
export function formatEffect(effect: PlainEffect): string {
  switch (effect.kind) {
    case 'opened':
      return `opened ${effect.session}`
    case 'resumed': {
      const answers = effect.answers.map(([id, answer]) => `#${id} ${answerText(answer)}`)
      return [`resumed ${effect.session} @${effect.attachEpoch}`, ...answers].join('; ')
    }
    case 'refused':
      return `refused ${effect.handshakeId}`
    case 'suspended':
      // `kept`: the session survives for its whole lease, and not only for its grace.
      return `suspended ${effect.session}${effect.keep ? ', kept' : ''}`
    case 'ended':
      return `ended ${effect.session} ${effect.reason}`
    case 'acknowledged':
      return `acknowledged ${effect.session}`
    case 'queued':
      return `queued ${effect.request.session}#${effect.request.id} ${effect.request.key}`
    case 'unfinished':
      // A later command grants the waiters of the key that still wait.
      return `unfinished ${effect.request.key}`
    case 'withdrawn': {
      const { session, id, key } = effect.request
      return `withdrawn ${session}#${id} ${key} ${effect.reason}`
    }
    case 'granted': {
      const { session, id, key, fence } = effect.lock
      return `granted ${session}#${id} ${key} f${fence}`
    }
    case 'upgraded': {
      // `fence` still identifies the lock. An upgrade gives the lock a new `presentFence`.
      const { session, key, fence, presentFence } = effect.lock
      return `upgraded ${session} ${key} f${fence} to f${presentFence}`
    }
    case 'downgraded': {
      const { session, key, fence } = effect.lock
      return `downgraded ${session} ${key} f${fence}`
    }
    case 'released': {
      const { session, key, fence } = effect.lock
      return `released ${session} ${key} f${fence} ${effect.reason}`
    }
    case 'deadlinesRestarted':
      return `deadlinesRestarted ${effect.session}`
    case 'refreshed':
      return `refreshed ${effect.lock.session} f${effect.lock.fence} g${effect.lock.generation}`
    case 'proclaimed': {
      const { session, fence, election } = effect.lock
      return `proclaimed ${session} f${fence} ${effect.formerValue} -> ${election?.value}`
    }
    case 'revoked':
      return `revoked f${effect.lock.fence} by ${effect.by}: ${effect.note}`
    // The effects of a `once` result that the table keeps for later calls.
    case 'kept':
    case 'keepRestarted':
    case 'forgotten':
      return `${effect.kind} ${effect.kept.key} f${effect.kept.fence}`
    case 'arrived':
      return `arrived ${effect.call.session}#${effect.call.id} ${effect.call.key}`
    case 'departed': {
      const { session, id, key } = effect.call
      return `departed ${session}#${id} ${key} ${effect.reason}`
    }
    case 'answer': {
      const { session, id, answer, repeat } = effect
      return `${repeat ? 'repeat' : 'answer'} ${session}#${id} ${answerText(answer)}`
    }
  }
}
