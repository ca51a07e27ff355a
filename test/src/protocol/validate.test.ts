/**
 * Tests how the broker checks the messages of clients. A fast check (`isValidFast`) accepts valid
 * messages, and a schema explains what is wrong with all other messages. The fast check and the
 * schema must agree. A refusal must not repeat text of the client, and no value may make `validate`
 * throw. A fence is the number of a grant. The ttl of a lock is the time after which the lock
 * expires.
 */
import type { errorCodes } from '@holdfast/shared'
import {
  type InvalidMessage,
  isValidFast,
  validate,
  validateWithSchema,
} from '@holdfast/shared/clientChecks'
import { schemas } from '@holdfast/shared/clientSchemas'
import { expect } from 'chai'
import { quickOrFull, Random, runRandomTest } from '../support/counts.js'
import { forgedText, hostileValues, hugeValues, mutate, validMessage } from './hostileMessages.js'

/** Whether the schema accepts a value. A throw counts as no. */
function isAcceptedBySchema(value: unknown): boolean {
  try {
    return !isRefusal(validateWithSchema(value))
  } catch {
    return false
  }
}

/** Whether the fast check accepts a value. A throw counts as no, as in `validate`. */
function isAcceptedFast(value: unknown): boolean {
  try {
    return isValidFast(value)
  } catch {
    return false
  }
}

const isRefusal = (verdict: object): verdict is InvalidMessage =>
  (verdict as { type: string }).type === 'refusal'

/** A value as text for an error message. Some values are too deep to be printed. */
function show(value: unknown): string {
  try {
    return JSON.stringify(value).slice(0, 300)
  } catch (error) {
    return String(error)
  }
}

/** Throws an error with this rule if the condition is false. Formats the value only then. */
function check(condition: boolean, rule: string, value: unknown): void {
  if (!condition) throw new Error(`${rule}: ${show(value)}`)
}

/** Checks that the fast check and the schema agree on a value. */
function checkAgreement(value: unknown): void {
  const fast = isAcceptedFast(value)
  const bySchema = isAcceptedBySchema(value)
  check(bySchema || !fast, 'the schema accepts each message that the fast check accepts', value)
  check(fast || !bySchema, 'the fast check accepts each message that the schema accepts', value)
}

/** Checks the rules that hold for the result of `validate` for any value. */
function checkVerdict(value: unknown): void {
  const verdict = validate(value)
  if (!isRefusal(verdict)) {
    check(verdict === value, 'validate returns a valid message unchanged', value)
    return
  }
  const hasId = typeof value === 'object' && value !== null && Object.hasOwn(value, 'id')
  const id = hasId ? (value as { id: unknown }).id : undefined
  const isValidId = typeof id === 'number' && Number.isSafeInteger(id) && id >= 1
  check(verdict.id === (isValidId ? id : undefined), 'a refusal has the id of the request', value)
  check(refusalCodes.includes(verdict.code), 'a refusal has one of the refusal codes', value)
  const { message } = verdict
  check(message.length > 0 && message.length <= 120, 'a refusal has 1 to 120 characters', value)
  // The tests use `forgedText`, which contains this word, as a value and as the name of a field.
  check(!message.includes('FORGED'), 'a refusal repeats no text of the client', value)
}

const refusalCodes = ['BAD_MESSAGE', 'INVALID_KEY', 'INVALID_TTL', 'INVALID_TIMEOUT']

describe('validate: valid messages', () => {
  it('accepts each valid message unchanged, by the fast check and by the schema', () => {
    runRandomTest((random) => {
      for (let i = quickOrFull(3_000, 100_000); i > 0; i--) {
        const message = JSON.parse(JSON.stringify(validMessage(random))) as object
        check(validate(message) === message, 'validate returns the message', message)
        check(isAcceptedBySchema(message), 'the schema accepts the message', message)
        check(isAcceptedFast(message), 'the fast check accepts the message', message)
      }
    })
  })
})

describe('validate: randomly changed messages', () => {
  it('gives the same result by the fast check and by the schema', () => {
    runRandomTest((random) => {
      let accepted = 0
      for (let i = quickOrFull(10_000, 500_000); i > 0; i--) {
        const value = mutate(validMessage(random), random)
        checkAgreement(value)
        if (isAcceptedFast(value)) accepted++
      }
      // Some changes keep a message valid, so the test tries accepted messages too.
      expect(accepted).to.be.greaterThan(10)
    })
  })

  it('returns the id of a request if the id is valid, and repeats no text of the client', () => {
    runRandomTest((random) => {
      for (let i = quickOrFull(10_000, 200_000); i > 0; i--) {
        checkVerdict(mutate(validMessage(random), random))
      }
    })
  })

  it('gives the same result by both checks with every hostile value in every field', () => {
    const random = new Random(1)
    // Among 1,000 random messages, every type occurs.
    const validMessages = Array.from({ length: 1_000 }, () => validMessage(random))
    for (const [type, schema] of Object.entries(schemas)) {
      const example = validMessages.find((message) => message.type === type)
      expect(example, type).not.to.equal(undefined)
      const fields = Object.keys(schema.schema as object)
      for (const field of [...fields, '__proto__', 'constructor', 'other']) {
        for (const value of [...hostileValues, ...hugeValues]) {
          const message = { ...example }
          const options = { value, enumerable: true, configurable: true, writable: true }
          Object.defineProperty(message, field, options)
          checkVerdict(message)
          checkAgreement(message)
        }
      }
    }
  })

  it('gives a correct verdict on values that are not messages', () => {
    for (const value of [...hostileValues, ...hugeValues, undefined, 'hello', [{ type: 'bye' }]])
      checkVerdict(value)
  })
})

describe('validate: metadata', () => {
  const lockWith = (metadata: string) =>
    JSON.parse(`{"type":"lock","id":1,"key":"k","metadata":${metadata}}`) as object

  const acceptedMetadata: Record<string, string> = {
    '64 nested arrays, the maximum': '['.repeat(64) + ']'.repeat(64),
    '64 nested objects, the maximum': `${'{"a":'.repeat(64)}1${'}'.repeat(64)}`,
    'a 4 KiB list of numbers': `[${'0,'.repeat(2_046)}0]`,
    'a 4 KiB list of empty lists': `[${'[],'.repeat(1_364)}[]]`,
    'a text of exactly 4 KiB': `"${'x'.repeat(4_094)}"`,
    'a text of exactly 4 KiB in UTF-8': `"${'é'.repeat(2_047)}"`,
  }
  for (const [name, text] of Object.entries(acceptedMetadata)) {
    it(`accepts metadata that is ${name}`, () => {
      const message = lockWith(text)
      expect(isValidFast(message)).to.equal(true)
      expect(isAcceptedBySchema(message)).to.equal(true)
    })
  }

  const rejectedMetadata: Record<string, string> = {
    '65 nested arrays': '['.repeat(65) + ']'.repeat(65),
    'a text of 4 KiB and 1 byte': `"${'x'.repeat(4_095)}"`,
    'a text of 4 KiB and 1 byte in UTF-8': `"x${'é'.repeat(2_047)}"`,
    'a text of over 4 KiB with escaped control characters': `"${'\\u0001'.repeat(683)}"`,
    'a list of numbers, longer than 4 KiB': `[${'0,'.repeat(2_048)}0]`,
  }
  for (const [name, text] of Object.entries(rejectedMetadata)) {
    it(`rejects metadata that is ${name}`, () => checkRefused(lockWith(text)))
  }

  function checkRefused(message: object): void {
    expect(isValidFast(message)).to.equal(false)
    expect(validate(message)).to.include({ type: 'refusal', id: 1, code: 'BAD_MESSAGE' })
  }
})

describe('validate: the code of a refusal', () => {
  const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
  const refusals: [string, keyof typeof errorCodes, number | undefined][] = [
    ['{"type":"lock","id":1,"key":""}', 'INVALID_KEY', 1],
    ['{"type":"lock","id":1}', 'INVALID_KEY', 1],
    ['{"type":"query","id":1,"prefix":5}', 'INVALID_KEY', 1],
    ['{"type":"lock","id":1,"key":"k","ttl":0}', 'INVALID_TTL', 1],
    ['{"type":"refresh","id":1,"fence":1,"ttl":"1"}', 'INVALID_TTL', 1],
    ['{"type":"lock","id":1,"key":"k","timeout":-1}', 'INVALID_TIMEOUT', 1],
    ['{"type":"lock","id":1,"key":"k","timeout":0,"steal":true}', 'BAD_MESSAGE', 1],
    ['{"type":"lock","id":1,"key":{"toString":1}}', 'INVALID_KEY', 1],
    ['{"type":"lock","id":1,"key":"k","ttl":{"toString":1,"valueOf":1}}', 'INVALID_TTL', 1],
    ['{"type":"lock","id":1,"key":"k","mode":{"toString":1}}', 'BAD_MESSAGE', 1],
    ['{"type":"unlock","id":1,"fence":0}', 'BAD_MESSAGE', 1],
    ['{"type":"unlock","id":1,"fence":1,"ttl":5}', 'BAD_MESSAGE', 1],
    ['{"type":"stats","id":1,"key":"k"}', 'BAD_MESSAGE', 1],
    ['{"type":"watch","id":1,"timeout":5}', 'BAD_MESSAGE', 1],
    ['{"type":"stats","id":1,"__proto__":{}}', 'BAD_MESSAGE', 1],
    ['{"type":"nonsense","id":7}', 'BAD_MESSAGE', 7],
    ['{"type":"constructor","id":7}', 'BAD_MESSAGE', 7],
    ['{"id":7}', 'BAD_MESSAGE', 7],
    ['{"type":"lock","id":0,"key":"k"}', 'BAD_MESSAGE', undefined],
    ['{"type":"lock","id":{"toString":1},"key":"k"}', 'BAD_MESSAGE', undefined],
    ['{"type":"lock","key":"k"}', 'BAD_MESSAGE', undefined],
    ['{"__proto__":{"id":1,"type":"bye"}}', 'BAD_MESSAGE', undefined],
    ['[1]', 'BAD_MESSAGE', undefined],
    ['null', 'BAD_MESSAGE', undefined],
    [`{"type":"stats","id":1,"other":${nested(66)}}`, 'BAD_MESSAGE', 1],
    [`{"type":"lock","id":1,"key":${nested(20_000)}}`, 'BAD_MESSAGE', 1],
    [`{"type":"lock","id":1,"key":"k","metadata":${nested(65)}}`, 'BAD_MESSAGE', 1],
    [`{"type":"lock","id":1,"key":"k","metadata":${nested(20_000)}}`, 'BAD_MESSAGE', 1],
    [`{"type":"ack","id":1,"ids":[${'0,'.repeat(30_000)}0]}`, 'BAD_MESSAGE', 1],
  ]
  for (const [text, code, id] of refusals) {
    it(`rejects ${text.slice(0, 80)} with ${code}`, () => {
      const { message: _, ...verdict } = validate(JSON.parse(text)) as InvalidMessage
      expect(verdict).to.deep.equal({ type: 'refusal', id, code })
    })
  }

  it('names a known field that is missing or has a wrong value, but no unknown field', () => {
    const messageFor = (text: string) => (validate(JSON.parse(text)) as InvalidMessage).message
    const endOfMessage = '; PROTOCOL.md lists the values that are allowed'
    const faults: [string, string][] = [
      ['{"type":"unlock","id":1}', '"fence" is missing'],
      ['{"type":"lock","id":1,"key":"k","capacity":0}', '"capacity" cannot be 0'],
      ['{"type":"lock","id":1,"key":"k","ttl":"5"}', '"ttl" cannot be this string'],
      [
        '{"type":"lockAll","id":1,"items":[{"key":"a"},{"key":"b","permits":1.5}]}',
        '"items[1].permits" cannot be 1.5',
      ],
    ]
    for (const [text, fault] of faults) expect(messageFor(text)).to.equal(`${fault}${endOfMessage}`)
    const field = JSON.stringify(forgedText)
    expect(messageFor(`{"type":"stats","id":1,${field}:1}`)).to.equal(
      'the message has an unknown field',
    )
    expect(messageFor(`{"type":"hello","resume":{${field}:1}}`)).not.to.include('FORGED')
  })
})
