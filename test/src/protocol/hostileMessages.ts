/**
 * Makes random valid messages of clients, and changes messages at random: removes, adds or replaces
 * fields. All values are values that `JSON.parse` can return. A fence is the number of a grant. The
 * ttl of a lock is the time after which the lock expires. The lease is the time that the broker
 * keeps a session without a message of its client. The grace is the time that a session outlives
 * its connection.
 */
import type { ClientMessage } from '@holdfast/shared'
import type { Random } from '../support/counts.js'

/**
 * A text in a received message that an error message must not repeat, because the text could forge
 * a line of a log.
 */
export const forgedText = 'FORGED\r\n'

const parse = (text: string): unknown => JSON.parse(text)
const deep = (depth: number): unknown => parse(`${'['.repeat(depth)}${']'.repeat(depth)}`)
const deepObject = (depth: number): unknown =>
  parse(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`)

/**
 * Values, each of which is invalid for most fields. Some values are just within or above a limit.
 * The limits are a time of 2^31 - 1 ms, an integer of 2^53 - 1, a key of 512 bytes, and a
 * depth of 64.
 */
export const hostileValues: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -0,
  1,
  -1,
  0.5,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 53 - 1,
  2 ** 53,
  1e300,
  parse('1e400'),
  '',
  'k',
  '1',
  'lease',
  'shared',
  'exclusive',
  'lock',
  '__proto__',
  'constructor',
  'a\u0000b',
  '\u009f',
  '\ud800',
  'a\udc00',
  '😀',
  'x'.repeat(512),
  'x'.repeat(513),
  'é'.repeat(257),
  'x'.repeat(5_000),
  forgedText,
  [],
  {},
  [1],
  [[]],
  [1, [2, [3]]],
  parse('{"toString":1}'),
  parse('{"toString":1,"valueOf":1,"toJSON":1}'),
  parse('{"__proto__":{"id":1}}'),
  parse('{"constructor":{"prototype":1}}'),
  parse('{"length":1}'),
  parse('{"session":"s","secret":"t"}'),
  deep(64),
  deep(65),
  deepObject(70),
]

/**
 * Large or deep values. Random mutations do not use these values, because encoding them is slow.
 */
export const hugeValues: readonly unknown[] = [
  Array.from({ length: 2_000 }, (_, i) => i + 1),
  Array.from({ length: 20_000 }, () => 'x'),
  deep(1_500),
  deep(20_000),
  deepObject(5_000),
]

/** Fields of the protocol, special names of JavaScript, the empty name, and a forged line. */
const fieldNames = [
  ...['type', 'id', 'key', 'mode', 'ttl', 'timeout', 'steal', 'metadata', 'fence', 'request'],
  ...['permits', 'capacity', 'items', 'maxHold', 'notify', 'queue', 'kind'],
  ...['scope', 'value', 'keep', 'parties'],
  ...['prefix', 'limit', 'watch', 'n', 'ids', 'token', 'name', 'grace', 'resume', 'session'],
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'toJSON', 'length', '', forgedText],
]

const keys = ['k', 'orders:42', 'é', '😀', '__proto__', 'constructor', 'x'.repeat(512)]

/** Makes one to four items of a `lockAll`, with different keys and random modes or permits. */
function lockAllItems(random: Random): object[] {
  return keys.slice(0, 1 + random.below(4)).map((key) => {
    const modeFields = [{}, { mode: 'shared' }, { capacity: 3 }, { permits: 2, capacity: 2 }]
    return { key, ...random.pick(modeFields) }
  })
}

/** Makes a random valid message of a client, of any type. */
export function validMessage(random: Random): ClientMessage {
  const id = 1 + random.below(1_000)
  const maybe = <T extends object>(fields: T): T | Record<string, never> =>
    random.chance(0.4) ? fields : {}
  /** A duration in ms. Unlike a timeout, the duration must not be 0. */
  const ms = (): number => random.pick([1, 250, 2 ** 31 - 1])
  const timeout = (): number => random.pick([0, 1, 2 ** 31 - 1])
  const fence = (): number => 1 + random.below(50)
  const json = (): unknown => random.pick([null, 0, 'text', [1, { a: 'b' }], { '': false }])
  const keyOrPrefix = (): object =>
    random.pick([{}, { key: random.pick(keys) }, { prefix: random.pick(['', 'orders:', 'é']) }])
  const makers: (() => object)[] = [
    () => ({
      ...{ type: 'lock', id, key: random.pick(keys) },
      ...maybe({ mode: random.pick(['exclusive', 'shared']) }),
      ...maybe({ ttl: ms() }),
      ...maybe({ timeout: timeout() }),
      ...maybe({ metadata: json() }),
    }),
    () => ({
      ...{ type: 'lock', id, key: random.pick(keys), steal: true },
      ...maybe({ mode: 'exclusive' }),
      ...maybe({ ttl: ms() }),
    }),
    () => ({
      ...{ type: 'lock', id, key: random.pick(keys), capacity: random.pick([3, 1_000_000]) },
      ...maybe({ permits: 1 + random.below(3) }),
      ...maybe({ ttl: ms() }),
    }),
    () => ({
      ...{ type: 'lock', id, key: random.pick(keys) },
      ...maybe({ maxHold: ms() }),
      ...maybe({ notify: random.pick([[], ['queued'], ['contended', 'queued']]) }),
    }),
    () => ({
      ...{ type: 'lockAll', id, items: lockAllItems(random) },
      ...maybe({ ttl: ms() }),
      ...maybe({ timeout: timeout() }),
      ...maybe({ metadata: json() }),
    }),
    () => ({
      ...{ type: 'lock', id, key: random.pick(keys), scope: 1 + random.below(3) },
      ...maybe({ timeout: timeout() }),
    }),
    () => ({ type: 'endScope', id, scope: 1 + random.below(3) }),
    () => ({
      ...{ type: 'campaign', id, key: random.pick(keys) },
      ...maybe({ value: json() }),
      ...maybe({ timeout: timeout() }),
      ...maybe({ metadata: json() }),
    }),
    () => ({ type: 'proclaim', id, fence: fence(), ...maybe({ value: json() }) }),
    () => ({
      ...{ type: 'once', id, key: random.pick(keys) },
      ...maybe({ ttl: ms() }),
      ...maybe({ timeout: timeout() }),
      ...maybe({ metadata: json() }),
    }),
    () => ({
      ...{ type: 'complete', id, fence: fence() },
      ...maybe({ value: json() }),
      ...maybe({ keep: ms() }),
    }),
    () => ({
      ...{ type: 'barrier', id, key: random.pick(keys), parties: random.pick([2, 3, 1_000]) },
      ...maybe({ timeout: timeout() }),
    }),
    () => ({ type: 'upgrade', id, fence: fence(), ...maybe({ timeout: timeout() }) }),
    () => ({ type: 'downgrade', id, fence: fence() }),
    () => ({ type: 'unlock', id, fence: 1 + random.below(2 ** 40) }),
    () => ({ type: 'refresh', id, fence: fence(), ...maybe({ ttl: ms() }) }),
    () => ({ type: 'revoke', id, key: random.pick(keys), fence: id, reason: 'stuck' }),
    () => ({ type: 'auth', id, token: 'secret' }),
    () => ({ type: 'cancel', request: id }),
    () => ({
      ...{ type: 'query', id, ...keyOrPrefix() },
      ...maybe({ limit: 1 + random.below(1_000) }),
      ...random.pick([
        {},
        { after: random.pick(['', ...keys]), ...maybe({ afterFence: 1 + random.below(9) }) },
        { kind: random.pick(['locks', 'barriers', 'results']) },
      ]),
    }),
    () => ({ type: 'query', id, kind: 'sessions', session: random.pick(['s', 'x'.repeat(64)]) }),
    () => ({ type: 'watch', id, ...keyOrPrefix() }),
    () => ({ type: 'unwatch', watch: id }),
    () => ({ type: 'stats', id }),
    () => ({ type: 'pong', n: random.below(100) }),
    () => ({ type: 'ack', ids: Array.from({ length: random.below(4) }, () => id) }),
    () => ({
      type: 'hello',
      ...maybe({ token: 'secret' }),
      ...maybe({ name: 'a worker' }),
      ...maybe({ lease: ms() }),
      ...maybe({ grace: random.pick([0, 5_000, 'lease']) }),
      ...maybe({ cell: random.pick(['1/1', '2/4', '1024/1024']) }),
      ...maybe({ resume: { session: 's', secret: 't', ...maybe({ try: id }) } }),
    }),
    () => ({ type: 'bye' }),
  ]
  return random.pick(makers)() as ClientMessage
}

/**
 * Makes a copy of a message with one to three random changes. Some results are still valid. Others
 * are no objects, and get no further change.
 */
export function mutate(message: object, random: Random): unknown {
  let value: unknown = structuredClone(message)
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) break
    value = mutateOnce(value as Record<string, unknown>, random)
  }
  return value
}

/** Makes one random change to a message. */
function mutateOnce(value: Record<string, unknown>, random: Random): unknown {
  const fields = Object.keys(value)
  const field = fields.length > 0 ? random.pick(fields) : 'type'
  switch (random.below(8)) {
    case 0:
      delete value[field]
      return value
    case 1:
    case 2:
      return setField(value, random.pick(fieldNames), random.pick(hostileValues))
    case 3:
      value['type'] = random.pick(['lock', 'unlock', 'hello', 'LOCK', 'welcome', 'constructor', ''])
      return value
    case 4:
      return random.chance(0.1) ? structuredClone(random.pick(hostileValues)) : [value]
    default:
      return setField(value, field, random.pick(hostileValues))
  }
}

/** Sets an own field of any name, as `JSON.parse` does. An assignment would not set `__proto__`. */
function setField(value: Record<string, unknown>, name: string, content: unknown): object {
  return Object.defineProperty(value, name, {
    value: content,
    enumerable: true,
    configurable: true,
    writable: true,
  })
}

/** Removes or doubles up to four characters of a frame, adds one, or cuts off the end. */
export function garble(text: string, random: Random): string {
  const start = random.below(text.length + 1)
  const end = Math.min(text.length, start + 1 + random.below(4))
  switch (random.below(4)) {
    case 0:
      return text.slice(0, start) + text.slice(end)
    case 1:
      return text.slice(0, end) + text.slice(start)
    case 2:
      return (
        text.slice(0, start) +
        random.pick(['"', '{', '[', ']', '\\', '\u0000', '\ud800', '9', ',']) +
        text.slice(start)
      )
    default:
      return text.slice(0, start)
  }
}
