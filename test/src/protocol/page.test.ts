/**
 * PROTOCOL.md and the code say the same: every message with its fields, every error code, every
 * close code and every number of the one is in the other.
 */
import {
  closeCodes,
  errorCodes,
  leaseMs,
  maxFrameBytes,
  maxHelloBytes,
  maxHoldersNamed,
  maxKeyBytes,
  maxLocksPerSession,
  maxMetadataBytes,
  maxMetadataDepth,
  maxMs,
  maxNameLength,
  maxOutputFrameBytes,
  maxQueryItems,
  maxTokenLength,
  maxUnacknowledged,
  maxWaitersPerKey,
  maxWatches,
  subprotocol,
} from '@holdfast/shared'
import { brokerSchemas } from '@holdfast/shared/brokerSchemas'
import { schemas } from '@holdfast/shared/clientSchemas'
import { expect } from 'chai'
import type { Struct } from 'superstruct'
import {
  brokerErrors,
  clientErrors,
  clientMessages,
  closeRows,
  declaredMessages,
  type Fields,
  page,
  serverMessages,
} from './page.js'

const declared = declaredMessages()
const sorted = (names: Iterable<string>) => [...names].sort()

/** The fields of a schema for an object, and whether each may be left out. */
function fieldsOf(schema: Struct<never, unknown>): Fields {
  const inner = Object.entries(schema.schema as Record<string, Struct<never, unknown>>)
  return Object.fromEntries(
    inner
      .filter(([name]) => name !== 'type')
      .map(([name, field]) => {
        const optional = field.is(undefined)
        const isObject = typeof field.schema === 'object' && field.type === 'object'
        return [name, isObject ? { optional, within: fieldsOf(field) } : { optional }]
      }),
  )
}

/** The page spells the items of a list out once and may leave them out where they come again. */
function withoutUnspelt(fields: Fields, spelt: Fields): Fields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, { optional, within }]) => {
      const isSpelt = within !== undefined && spelt[name]?.within !== undefined
      return [name, isSpelt ? { optional, within } : { optional }]
    }),
  )
}

describe('PROTOCOL.md: messages', () => {
  it('from the client are those of the schemas and of the types', () => {
    expect(sorted(clientMessages.keys())).to.deep.equal(sorted(Object.keys(schemas)))
    expect(sorted(clientMessages.keys())).to.deep.equal(sorted(declared.client.keys()))
  })

  it('from the broker are those of the schemas and of the types', () => {
    expect(sorted(serverMessages.keys())).to.deep.equal(sorted(Object.keys(brokerSchemas)))
    expect(sorted(serverMessages.keys())).to.deep.equal(sorted(declared.server.keys()))
  })

  for (const [type, schema] of Object.entries(schemas)) {
    it(`${type} has the fields that its schema has`, () => {
      const fields = fieldsOf(schema as unknown as Struct<never, unknown>)
      expect(clientMessages.get(type)).to.deep.equal(fields)
    })
  }

  for (const [type, schema] of Object.entries(brokerSchemas)) {
    it(`${type} from the broker has the fields that its schema has`, () => {
      const fields = Object.keys(schema.schema).filter((field) => field !== 'type')
      expect(sorted(Object.keys(serverMessages.get(type)!))).to.deep.equal(sorted(fields))
    })
  }

  for (const [side, messages] of [
    ['client', clientMessages],
    ['server', serverMessages],
  ] as const) {
    for (const [type, fields] of messages) {
      it(`${type} from the ${side} has the fields that its type has`, () => {
        expect(fields).to.deep.equal(withoutUnspelt(declared[side].get(type)!, fields))
      })
    }
  }
})

describe('PROTOCOL.md: codes', () => {
  it('has every error code, and no other', () => {
    expect(sorted([...brokerErrors, ...clientErrors])).to.deep.equal(
      sorted(Object.keys(errorCodes)),
    )
  })

  it('has every close code with its reason and what it means for coming back', () => {
    const rows = Object.values(closeCodes).map(({ code, reason, final }) => ({
      code,
      reason,
      final,
    }))
    expect(closeRows).to.deep.equal(rows)
  })
})

describe('PROTOCOL.md: numbers', () => {
  const thousands = (n: number) => n.toLocaleString('en')
  const kib = (n: number) => `${n / 1024} KiB`
  const numbers: Record<string, string> = {
    subprotocol: `subprotocol \`${subprotocol}\``,
    frame: `A frame from a client is at most ${kib(maxFrameBytes)}`,
    hello: `at most ${kib(maxHelloBytes)} until \`hello\``,
    output: `broker is at most ${kib(maxOutputFrameBytes)}`,
    key: `1 to ${maxKeyBytes} bytes in UTF-8`,
    token: `\`token?\` (1 to ${thousands(maxTokenLength)} characters)`,
    name: `\`name?\` (1 to ${maxNameLength})`,
    metadata: `at most ${kib(maxMetadataBytes)} as text and ${maxMetadataDepth} levels deep`,
    times: `\`timeout?\` (0 to 2^31 - 1`,
    lease: `(${thousands(leaseMs.min)} to ${thousands(leaseMs.max)}, `,
    'default lease': `, default ${thousands(leaseMs.default)})`,
    holders: `at most ${maxHoldersNamed} and at most 16 KiB of them`,
    limit: `\`limit?\` (1 to ${thousands(maxQueryItems)}, default ${thousands(maxQueryItems)})`,
    ids: `\`ids\` (at most ${thousands(maxUnacknowledged)})`,
    locks: `${thousands(maxLocksPerSession)} locks held and waited for`,
    answers: `${thousands(maxUnacknowledged)} stored answers`,
    waiters: `${thousands(maxWaitersPerKey)} requests waiting for the key`,
    watches: `${thousands(maxWatches)} watches`,
  }
  for (const [name, words] of Object.entries(numbers)) {
    it(`of ${name}: ${words}`, () => expect(page).to.include(words))
  }

  it('2^31 - 1 is the longest time', () => expect(maxMs).to.equal(2 ** 31 - 1))
})
