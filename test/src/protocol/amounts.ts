/**
 * Random frames that are hostile by their amount and order: many cheap messages, long pipelines,
 * and repetitions, with some mutated messages among them.
 */
import type { Random } from '../support/counts.js'
import { goodMessage, mutate } from './strangers.js'

/** Characters of a frame, below the 64 KiB that a frame may have. */
const frameChars = 60_000

/** Keys and fences of the set-up that hostile messages may use. */
export interface Surroundings {
  /** A prefix of very many keys that are held. */
  readonly prefix: string
  /** A key with very many shared holders, and some of their fences. */
  readonly crowd: { readonly key: string; readonly fences: readonly number[] }
  /** A key whose holders have large metadata. */
  readonly described: string
  /** A key that is held, and that very many requests wait for. */
  readonly queued: string
}

/** Makes messages, each with its own id. */
type Maker = (id: number) => unknown

/** Messages that cost much work, or many that cost little. */
function makersOf(random: Random, all: Surroundings): Maker[] {
  const { prefix, crowd, described, queued } = all
  const own = random.pick(['own', 'own too'])
  const metadata = 'm'.repeat(random.pick([0, 100, 4_000]))
  const limit = random.pick([1, 7, 1_000])
  return [
    (id) => ({ type: 'query', id, limit }),
    (id) => ({ type: 'query', id, prefix }),
    (id) => ({ type: 'query', id, prefix: 'nothing' }),
    (id) => ({ type: 'query', id, key: crowd.key, limit }),
    (id) => ({ type: 'watch', id, prefix: '' }),
    (id) => ({ type: 'watch', id, prefix: prefix.slice(0, id % prefix.length) }),
    (id) =>
      id % 2 === 0 ? { type: 'watch', id: 1, prefix: 'nothing' } : { type: 'unwatch', watch: 1 },
    (id) => ({ type: 'lock', id, key: described, timeout: 0 }),
    (id) => ({ type: 'lock', id, key: own, steal: true, metadata }),
    (id) => ({ type: 'lock', id, key: `own ${id % 50}`, ttl: 1, timeout: 1, metadata }),
    (id) => ({ type: 'lock', id, key: crowd.key, mode: 'shared' }),
    (id) => ({ type: 'lock', id, key: queued, timeout: random.pick([1, 1_000, undefined]) }),
    (id) => ({ type: 'cancel', request: random.chance(0.5) ? id - 100 : id }),
    (id) => {
      const fence = random.chance(0.5) ? random.pick(crowd.fences) : id
      return { type: 'revoke', id, key: crowd.key, fence, reason: 'hostile' }
    },
    (id) => ({ type: 'unlock', id, fence: id }),
    (id) => ({ type: 'refresh', id, fence: random.pick(crowd.fences) }),
    (id) => ({ type: 'stats', id }),
    (id) => ({ type: 'pong', n: id }),
    (id) => ({ type: 'ack', ids: Array.from({ length: random.pick([0, 1, 1_024]) }, () => id) }),
    (id) => ({ type: 'auth', id, token: 't'.repeat(random.pick([1, 3_000])) }),
    (id) => ({ type: 'lock', id, key: 7 }),
  ]
}

/**
 * A frame with as many messages of a few types as it has room for. Now and then a message is
 * mutated.
 */
export function deepFrame(random: Random, all: Surroundings, nextId: () => number): unknown[] {
  const makers = makersOf(random, all)
  const chosen = Array.from({ length: random.pick([1, 1, 2, 4]) }, () => random.pick(makers))
  const most = random.pick([1, 20, 400, Number.POSITIVE_INFINITY])
  const messages: unknown[] = []
  for (let chars = 0; messages.length < most; ) {
    let message = random.pick(chosen)(nextId())
    if (random.chance(0.002)) message = mutate(goodMessage(random), random)
    chars += (JSON.stringify(message) ?? '').length + 1
    if (chars > frameChars) break
    messages.push(message)
  }
  return messages
}
