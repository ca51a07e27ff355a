/**
 * Tests how the client checks the messages of a broker. The function `faultOfBrokerMessage` returns
 * the fault of an invalid message as text. The check is written by hand, because the library
 * superstruct is too large for browsers. The check must accept the same messages as the superstruct
 * schemas, name the wrong field, and never throw. The check has two stages: `isValidFast` accepts
 * the most frequent valid messages, and `faultByShape` checks all other messages. A fence is the
 * number of a grant.
 */
import { faultOfBrokerMessage } from '@holdfast/shared'
import { faultByShape, isValidFast } from '@holdfast/shared/brokerChecks'
import { brokerSchemas } from '@holdfast/shared/brokerSchemas'
import { expect } from 'chai'
import type { Struct } from 'superstruct'
import { quickOrFull, runRandomTest } from '../support/counts.js'
import { validBrokerMessages, variantsOf } from './brokerMessages.js'
import { forgedText, hostileValues, hugeValues, mutate } from './hostileMessages.js'

/** The greatest length of a fault, which becomes a part of an error message. */
const maxFaultLength = 120

/**
 * Whether the schemas accept a value. A client ignores messages of unknown types, so they count as
 * accepted.
 */
function isAcceptedBySchema(value: unknown): boolean {
  const isMessage = typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isMessage || !Object.hasOwn(value, 'type')) return false
  const { type } = value as { type: unknown }
  if (typeof type !== 'string') return false
  if (!Object.hasOwn(brokerSchemas, type)) return true
  const schema = brokerSchemas[type as keyof typeof brokerSchemas] as unknown as Struct<never>
  try {
    return schema.is(value)
  } catch {
    // superstruct throws if it cannot print an invalid value in its error message.
    return false
  }
}

/**
 * Checks that `faultOfBrokerMessage` and the schemas agree, and that `isValidFast` accepts only
 * messages that `faultByShape` accepts. A fault must be short and must not repeat text of the
 * broker. Uses no assertion of chai, because chai would print the value, and some values are too
 * deep to print.
 */
function checkAgreement(value: unknown, label: string): void {
  const fault = faultOfBrokerMessage(value)
  if ((fault === undefined) !== isAcceptedBySchema(value)) {
    throw new Error(`${label}: faultOfBrokerMessage returns ${fault}, and the schema disagrees`)
  }
  if (isValidFast(value) && faultByShape(value) !== undefined) {
    throw new Error(`${label}: isValidFast accepts the message, and faultByShape does not`)
  }
  if (fault === undefined) return
  if (fault.length > maxFaultLength || fault.includes(forgedText.trim())) {
    throw new Error(`${label}: ${fault}`)
  }
}

describe('faultOfBrokerMessage', () => {
  it('accepts valid messages, with and without optional and unknown fields', () => {
    const types = new Set(validBrokerMessages.map(({ type }) => type))
    expect([...types]).to.have.members(Object.keys(brokerSchemas))
    for (const message of validBrokerMessages) {
      expect(faultOfBrokerMessage(message), message.type).to.equal(undefined)
      // A newer broker may send the field `later`, which no client knows yet.
      expect(faultOfBrokerMessage({ ...message, later: 1 }), message.type).to.equal(undefined)
      checkAgreement(message, message.type)
    }
  })

  it('agrees with the schema if one field at any depth is missing or wrong', () => {
    for (const message of validBrokerMessages) {
      for (const { change, value } of variantsOf(message)) {
        checkAgreement(value, message.type + change)
      }
    }
  })

  it('agrees with the schema after random changes', () => {
    runRandomTest((random) => {
      for (let i = quickOrFull(5_000, 200_000); i > 0; i--) {
        checkAgreement(mutate(random.pick(validBrokerMessages), random), `change ${i}`)
      }
    })
  })

  it('agrees with the schema on values that are not objects or have no valid type', () => {
    for (const value of [...hostileValues, ...hugeValues, undefined]) {
      checkAgreement(value, 'a bare value')
      checkAgreement({ type: value }, 'a type')
    }
  })

  it('accepts messages of unknown types with any name', () => {
    for (const type of ['later', 'constructor', '__proto__', 'toString', '']) {
      expect(faultOfBrokerMessage(JSON.parse(`{"type":${JSON.stringify(type)}}`)), type).to.equal(
        undefined,
      )
    }
  })

  it('accepts modes, reasons and kinds of events that only a newer broker has', () => {
    const newer = 'newer'
    const lock = { key: 'k', mode: newer, session: 's', fence: 1, since: 0 }
    const dequeued = { event: 'dequeued', ...lock, request: 1, reason: newer }
    const messages = [
      { type: 'lost', fence: 1, reason: newer },
      { type: 'event', watch: 1, event: { event: 'locked', ...lock } },
      { type: 'event', watch: 1, event: dequeued },
      { type: 'event', watch: 1, event: { event: newer, key: 5 } },
      { type: 'watching', id: 1, held: [lock], heldCount: 1, more: false },
    ]
    for (const message of messages) {
      expect(faultOfBrokerMessage(message), JSON.stringify(message)).to.equal(undefined)
      checkAgreement(message, JSON.stringify(message))
    }
  })

  it('names the wrong field, and repeats no text of the broker', () => {
    const found = validBrokerMessages.find(({ type }) => type === 'found')!
    const cases: [unknown, string][] = [
      [{ type: 'granted', id: 1 }, 'granted.fence is missing'],
      [{ type: 'granted', id: 1, fence: -1 }, 'granted.fence cannot be -1'],
      [{ type: 'granted', id: 1, fence: '7' }, 'granted.fence cannot be this string'],
      [{ type: 'granted', id: 1, fence: 2, at: 1e300 }, 'granted.at cannot be 1e+300'],
      [{ ...found, held: undefined }, 'found.held is missing'],
      [{ ...found, held: [{ key: 'k' }] }, 'found.held[0].mode is missing'],
      [{ ...found, waiting: {} }, 'found.waiting cannot be this object'],
      [
        { type: 'contended', fence: 1, waiting: forgedText },
        'contended.waiting cannot be this string',
      ],
      [null, 'it cannot be null'],
      [[], 'it cannot be this array'],
      [{ type: 7 }, 'its type cannot be 7'],
    ]
    for (const [value, fault] of cases) expect(faultOfBrokerMessage(value)).to.equal(fault)
  })
})
