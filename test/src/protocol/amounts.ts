/**
 * Makes random frames with a hostile amount or order of messages: many cheap messages, expensive
 * messages, and repetitions, with some randomly changed messages among them. A fence is the number
 * of a grant, which identifies a lock. A scope is one logical task of a session; a request in a
 * scope is checked for deadlocks. A follower is a `once` request that waits for the result of
 * another client.
 */
import type { Random } from '../support/counts.js'
import { mutate, validMessage } from './hostileMessages.js'

/** The greatest length of a frame, which is below the limit of 64 KiB. */
const maxFrameChars = 60_000

/** Keys and fences of held locks. The hostile messages name these keys and fences. */
export interface HeldKeys {
  /** The prefix of very many held keys. */
  readonly prefix: string
  /** A key with very many shared holders, and some of their fences. */
  readonly crowd: { readonly key: string; readonly fences: readonly number[] }
  /** A key whose holders have large metadata. */
  readonly withMetadata: string
  /** A held key that very many requests wait for. */
  readonly withQueue: string
  /** A key that very many scopes hold in shared mode while they wait for other keys. */
  readonly withScopes: string
}

/** Makes one message with this id. */
type Maker = (id: number) => unknown

/** A set of 64 keys, the maximum: the given keys, and others. */
function bigSet(random: Random, keys: readonly string[]): object[] {
  const others = Array.from({ length: 64 - keys.length }, (_, i) => `set ${random.below(4)} ${i}`)
  const modeFields = random.pick([{}, { mode: 'shared' }, { capacity: 3 }])
  return [...keys, ...others].map((key) => ({ key, ...modeFields }))
}

/**
 * The makers of messages for special locks: upgrades and downgrades, scopes, calls of `once` with
 * followers, elections and barriers. Each message may cause much work. Remainders of the ids, such
 * as `id % 50`, let many messages use the same few keys and scopes.
 */
function specialMakersOf(
  random: Random,
  { withScopes, crowd }: HeldKeys,
  ownFences: readonly number[],
): Maker[] {
  const scope = 1 + random.below(50)
  const value = 'v'.repeat(random.pick([1, 4_000, 30_000]))
  /** The fence of a lock of the client. If the client has no lock, the invalid fence 0. */
  const fence = (): number => (ownFences.length === 0 ? 0 : random.pick(ownFences))
  const timeout = random.pick([1, 1_000, undefined])
  return [
    (id) => ({ type: 'lock', id, key: withScopes, scope: scope + (id % 7), timeout }),
    (id) => ({ type: 'lock', id, key: withScopes, mode: 'shared', scope: id % 50 }),
    (id) => ({ type: 'lock', id, key: `own ${id % 50}`, mode: 'shared', scope, timeout }),
    (id) => ({ type: 'lockAll', id, items: bigSet(random, [withScopes]), scope: id % 50, timeout }),
    (id) => ({ type: 'lock', id, key: 'party', mode: random.chance(0.9) ? 'shared' : 'exclusive' }),
    (id) => ({ type: 'lock', id, key: crowd.key, mode: 'shared', scope: id % 50, ttl: 1_000 }),
    (id) => ({ type: 'upgrade', id, fence: fence(), timeout: random.pick([0, 1, undefined]) }),
    (id) => ({ type: 'downgrade', id, fence: fence() }),
    (id) => ({ type: 'unlock', id, fence: fence() }),
    (id) => ({ type: 'endScope', id, scope: id % 50 }),
    (id) => ({ type: 'once', id, key: `run ${id % 2}`, timeout }),
    (id) => ({ type: 'complete', id, fence: fence(), value, keep: random.pick([1, 1_000]) }),
    (id) => ({ type: 'campaign', id, key: 'election', value: value.slice(0, 4_000), timeout }),
    (id) => ({ type: 'proclaim', id, fence: fence(), value: value.slice(0, 4_000) }),
    (id) => {
      const parties = random.pick([2, 50, 1_000])
      return { type: 'barrier', id, key: `barrier ${parties}`, parties, timeout }
    },
  ]
}

/**
 * The makers of all other messages: some are expensive, others only in large numbers. The greatest
 * values are the limits of the protocol or a little below. The limits are 4,096 bytes of metadata,
 * 1,024 ids in an `ack`, 3,072 characters of a token, and 1,000 items of a query.
 */
function ordinaryMakersOf(random: Random, heldKeys: HeldKeys): Maker[] {
  const { prefix, crowd, withMetadata, withQueue } = heldKeys
  const ownKey = random.pick(['own', 'own too'])
  const metadata = 'm'.repeat(random.pick([0, 100, 4_000]))
  const limit = random.pick([1, 7, 1_000])
  return [
    (id) => ({ type: 'query', id, limit }),
    (id) => ({ type: 'query', id, prefix }),
    (id) => ({ type: 'query', id, prefix: 'nothing' }),
    (id) => ({ type: 'query', id, key: crowd.key, limit }),
    (id) => ({ type: 'query', id, kind: random.pick(['barriers', 'results']), limit }),
    // The session `id1` exists, and `none` does not.
    (id) => ({ type: 'query', id, kind: 'sessions', session: random.pick(['id1', 'none']) }),
    (id) => ({ type: 'watch', id, prefix: '' }),
    (id) => ({ type: 'watch', id, prefix: '', queue: true }),
    (id) => ({ type: 'watch', id, prefix: prefix.slice(0, id % prefix.length) }),
    (id) =>
      id % 2 === 0 ? { type: 'watch', id: 1, prefix: 'nothing' } : { type: 'unwatch', watch: 1 },
    (id) => ({ type: 'lock', id, key: withMetadata, timeout: 0 }),
    (id) => ({ type: 'lock', id, key: ownKey, steal: true, metadata }),
    (id) => ({ type: 'lock', id, key: `own ${id % 50}`, ttl: 1, timeout: 1, metadata }),
    (id) => ({ type: 'lock', id, key: crowd.key, mode: 'shared' }),
    (id) => ({ type: 'lock', id, key: crowd.key, mode: 'shared', ttl: 60_000, maxHold: 90_000 }),
    (id) => ({ type: 'lock', id, key: withQueue, timeout: random.pick([1, 1_000, undefined]) }),
    (id) => ({ type: 'lock', id, key: withMetadata, notify: ['queued'] }),
    (id) => ({ type: 'lock', id, key: crowd.key, notify: ['queued', 'contended'] }),
    (id) => ({ type: 'lock', id, key: `own ${id % 50}`, maxHold: 1, notify: ['contended'] }),
    (id) => ({ type: 'lock', id, key: `permits ${id % 9}`, permits: 1, capacity: 1 + (id % 7) }),
    (id) => ({
      type: 'lockAll',
      id,
      items: bigSet(random, [ownKey, withQueue, crowd.key]),
      metadata,
    }),
    (id) => ({ type: 'lockAll', id, items: bigSet(random, [ownKey]), timeout: 0 }),
    // `id - 100` is the id of an earlier message, and `id` belongs to no request.
    (id) => ({ type: 'cancel', request: random.chance(0.5) ? id - 100 : id }),
    (id) => {
      // As a fence, `id` probably names no lock of the key.
      const fence = random.chance(0.5) ? random.pick(crowd.fences) : id
      return { type: 'revoke', id, key: crowd.key, fence, reason: 'hostile' }
    },
    (id) => ({ type: 'unlock', id, fence: id }),
    (id) => ({ type: 'refresh', id, fence: random.pick(crowd.fences) }),
    (id) => ({ type: 'stats', id }),
    (id) => ({ type: 'pong', n: id }),
    (id) => ({ type: 'ack', ids: Array.from({ length: random.pick([0, 1, 1_024]) }, () => id) }),
    (id) => ({ type: 'auth', id, token: 't'.repeat(random.pick([1, 3_000])) }),
    // An invalid key.
    (id) => ({ type: 'lock', id, key: 7 }),
  ]
}

/**
 * Makes the messages of one frame: messages from one to four makers, up to the greatest length of a
 * frame. A few of the messages have random changes.
 *
 * @param ownFences The fences of locks that were granted to the client.
 */
export function hostileBatch(
  random: Random,
  heldKeys: HeldKeys,
  ownFences: readonly number[],
  nextId: () => number,
): unknown[] {
  const specialMakers = specialMakersOf(random, heldKeys, ownFences)
  const makers = random.chance(0.5) ? specialMakers : ordinaryMakersOf(random, heldKeys)
  const chosen = Array.from({ length: random.pick([1, 1, 2, 4]) }, () => random.pick(makers))
  const maxMessages = random.pick([1, 20, 400, Number.POSITIVE_INFINITY])
  const messages: unknown[] = []
  for (let chars = 0; messages.length < maxMessages; ) {
    let message = random.pick(chosen)(nextId())
    if (random.chance(0.002)) message = mutate(validMessage(random), random)
    chars += (JSON.stringify(message) ?? '').length + 1
    if (chars > maxFrameChars) break
    messages.push(message)
  }
  return messages
}
