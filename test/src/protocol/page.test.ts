/**
 * Compares the page PROTOCOL.md with the code, in both directions: messages, fields, error codes,
 * close codes and limits. Checks the examples and the transcripts of the page with the schemas.
 */
import {
  closeCodes,
  defaultPort,
  errorCodes,
  isFinalClose,
  isKnownEvent,
  leaseMs,
  maxDurationMs,
  maxFrameBytes,
  maxHelloBytes,
  maxHoldersNamed,
  maxIdOrSecretLength,
  maxKeyBytes,
  maxLocksPerSession,
  maxMetadataBytes,
  maxMetadataDepth,
  maxNameLength,
  maxOutputFrameBytes,
  maxQueryItems,
  maxReasonLength,
  maxTokenLength,
  maxUnacknowledgedResponses,
  maxWaitersPerKey,
  maxWatches,
  parseFrame,
  safeDuration,
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
  errorRows,
  actions as explainedActions,
  type Fields,
  limitRows,
  type PageMessage,
  page,
  serverMessages,
  transcriptFrames,
} from './page.js'

/** The messages that the interfaces in the code declare. */
const declared = declaredMessages()
const sorted = (names: Iterable<string>) => [...names].sort()

/**
 * The fields of a schema, and whether each field is optional. If a field holds an object or a list
 * of objects, `within` has their fields.
 */
function fieldsOf(schema: Struct<never, unknown>): Fields {
  const inner = Object.entries(schema.schema as Record<string, Struct<never, unknown>>)
  return Object.fromEntries(
    inner
      .filter(([name]) => name !== 'type')
      .map(([name, field]) => {
        const optional = field.is(undefined)
        const item =
          field.type === 'array' ? (field.schema as unknown as Struct<never, unknown>) : field
        const isObject = typeof item.schema === 'object' && item.type === 'object'
        return [name, isObject ? { optional, within: fieldsOf(item) } : { optional }]
      }),
  )
}

/** Why the schema of a message rejects the message; undefined if the message is valid. */
function schemaErrorOf(value: unknown, by: 'client' | 'broker'): string | undefined {
  const { type } = value as { type: string }
  const schemasOfSender: Record<string, unknown> = by === 'client' ? schemas : brokerSchemas
  if (!Object.hasOwn(schemasOfSender, type)) return `the ${by} has no message ${type}`
  const [error] = (schemasOfSender[type] as Struct<unknown>).validate(value)
  return error && `${JSON.stringify(value)}: ${error.message}`
}

/** The names in a value, at every depth, that are not among these fields of the page. */
function unknownFields(value: object, pageFields: Fields): string[] {
  return Object.entries(value)
    .filter(([name]) => name !== 'type')
    .flatMap(([name, inner]) => {
      const field = pageFields[name]
      if (field === undefined) return [name]
      if (field.within === undefined) return []
      const items: object[] = Array.isArray(inner) ? inner : [inner as object]
      return items.flatMap((item) => unknownFields(item, field.within!))
    })
}

/** Checks that a message is valid, and that the page has all its fields. */
function checkMessage(value: unknown, by: 'client' | 'broker'): void {
  expect(schemaErrorOf(value, by)).to.equal(undefined)
  // The schemas accept every kind of event and every mode, because newer brokers may have more.
  const { type, event } = value as { type: string; event?: { event: string; mode: string } }
  if (type === 'event') {
    expect(isKnownEvent(event!), JSON.stringify(value)).to.equal(true)
    expect(event!.mode).to.be.oneOf(['exclusive', 'shared', 'permits'])
  }
  const messages = by === 'client' ? clientMessages : serverMessages
  const { fields } = messages.get((value as { type: string }).type)!
  expect(unknownFields(value as object, fields), JSON.stringify(value)).to.deep.equal([])
}

/** For each side: its name, its messages on the page, and the fields in the code. */
const sides: ['client' | 'broker', Map<string, PageMessage>, Map<string, Fields>][] = [
  ['client', clientMessages, declared.client],
  ['broker', serverMessages, declared.server],
]

describe('PROTOCOL.md: messages', () => {
  it('lists the client messages of the schemas and of the interfaces', () => {
    expect(sorted(clientMessages.keys())).to.deep.equal(sorted(Object.keys(schemas)))
    expect(sorted(clientMessages.keys())).to.deep.equal(sorted(declared.client.keys()))
  })

  it('lists the broker messages of the schemas and of the interfaces', () => {
    expect(sorted(serverMessages.keys())).to.deep.equal(sorted(Object.keys(brokerSchemas)))
    expect(sorted(serverMessages.keys())).to.deep.equal(sorted(declared.server.keys()))
  })

  for (const [type, schema] of Object.entries(schemas)) {
    it(`gives the client message ${type} the fields of its schema`, () => {
      const fields = fieldsOf(schema as unknown as Struct<never, unknown>)
      expect(clientMessages.get(type)?.fields).to.deep.equal(fields)
    })
  }

  for (const [type, schema] of Object.entries(brokerSchemas)) {
    it(`gives the broker message ${type} the fields of its schema`, () => {
      // The test of the interfaces also compares optional and inner fields.
      const fields = Object.keys(schema.schema).filter((field) => field !== 'type')
      expect(sorted(Object.keys(serverMessages.get(type)!.fields))).to.deep.equal(sorted(fields))
    })
  }

  for (const [side, messages, declaredFields] of sides) {
    for (const [type, { fields, examples }] of messages) {
      it(`gives ${type} from the ${side} the fields of its interface, at every depth`, () => {
        expect(fields).to.deep.equal(declaredFields.get(type))
      })

      it(`shows ${type} from the ${side} in valid examples`, () => {
        expect(examples).to.not.be.empty
        for (const text of examples) {
          const example: unknown = JSON.parse(text)
          expect(example).to.include({ type })
          checkMessage(example, side)
        }
      })

      it(`shows every field of ${type} from the ${side} in an example`, () => {
        const shown = new Set(examples.flatMap((text) => Object.keys(JSON.parse(text) as object)))
        // Examples may lack these optional fields, because each excludes another field. In a lock,
        // `mode` excludes `capacity`, and `steal` excludes `timeout`. In a query or watch, `key`
        // excludes `prefix`.
        const mayBeMissing = ['mode', 'steal', 'key'].filter((field) => fields[field]?.optional)
        const missing = Object.keys(fields).filter((field) => !shown.has(field))
        // No example has `afterFence`, because a transcript shows this field.
        expect(mayBeMissing).to.include.members(missing.filter((field) => field !== 'afterFence'))
      })
    }
  }
})

describe('PROTOCOL.md: transcripts', () => {
  // With 30 frames or fewer, the patterns in `page.ts` would miss some transcripts.
  it('has transcripts', () => expect(transcriptFrames.length).to.be.greaterThan(30))

  for (const { by, text } of transcriptFrames) {
    it(`shows a valid frame of the ${by}: ${text.slice(0, 60)}`, () => {
      const messages = parseFrame(text)
      expect(messages).to.not.equal(undefined)
      for (const message of messages!) checkMessage(message, by)
    })
  }
})

describe('PROTOCOL.md: codes', () => {
  it('has every error code, and no other', () => {
    expect(sorted([...brokerErrors, ...clientErrors])).to.deep.equal(
      sorted(Object.keys(errorCodes)),
    )
  })

  it('has every close code with its reason', () => {
    for (const { code, reason } of Object.values(closeCodes)) {
      const row = closeRows.find((candidate) => candidate.code === code)
      expect(row?.reason, String(code)).to.equal(reason)
    }
  })

  it('has a row for each code that a WebSocket library or a proxy may send', () => {
    const codes = closeRows.map(({ code }) => code)
    expect(codes).to.include.members([1000, 1001, 1002, 1005, 1006, 1007, 1008, 1009, 1011])
  })

  it('says "stay away" for final close codes, and for no others', () => {
    for (const { code, action } of closeRows) {
      expect(action === 'stay away', String(code)).to.equal(isFinalClose(code))
    }
  })

  it('has an action in every row, and explains every action', () => {
    // The page has six actions. With fewer, the pattern in `page.ts` would miss an action.
    expect(explainedActions).to.have.length(6)
    for (const { codes, actions: rowActions } of errorRows) {
      expect(rowActions, codes.join()).to.not.be.empty
      expect(explainedActions).to.include.members([...rowActions])
    }
  })
})

describe('PROTOCOL.md: numbers', () => {
  const thousands = (n: number) => n.toLocaleString('en')
  const kib = (n: number) => `${n / 1024} KiB`
  const limits: Record<string, string> = {
    'frame from a client': kib(maxFrameBytes),
    'frame from a client before `welcome`': kib(maxHelloBytes),
    'frame from a broker': kib(maxOutputFrameBytes),
    key: `${maxKeyBytes} bytes`,
    metadata: `${kib(maxMetadataBytes)} (\`metadataBytes\`), ${maxMetadataDepth} levels`,
    token: `${thousands(maxTokenLength)} units`,
    name: `${maxNameLength} units`,
    reason: `${maxReasonLength} units`,
    'ttl, timeout': `${thousands(maxDurationMs)} ms`,
    lease: `${thousands(leaseMs.min)} to ${thousands(leaseMs.max)} ms`,
    'ids in an `ack`': thousands(maxUnacknowledgedResponses),
    'items of a query': `${thousands(maxQueryItems)} locks and ${thousands(maxQueryItems)} requests`,
    'holders in a `failed`': `${maxHoldersNamed}, and 16 KiB`,
    'locks of a session, held and waited for (a set counts once for each of its keys)':
      thousands(maxLocksPerSession),
    'stored answers of a session': thousands(maxUnacknowledgedResponses),
    'waiting requests of a key': thousands(maxWaitersPerKey),
    'watches of a session': thousands(maxWatches),
  }
  for (const [name, value] of Object.entries(limits)) {
    it(`lists the limit "${name}": ${value}`, () => {
      expect(limitRows.get(name)?.startsWith(value), limitRows.get(name)).to.equal(true)
    })
  }

  const passages: Record<string, string> = {
    subprotocol: `the subprotocol \`${subprotocol}\``,
    port: `The default port is ${defaultPort}`,
    frame: `A frame from a client MUST have at most ${kib(maxFrameBytes)}`,
    hello: `at most ${kib(maxHelloBytes)} until the client has received`,
    output: `A frame from a broker has at most ${kib(maxOutputFrameBytes)}`,
    key: `text of 1 to ${maxKeyBytes} bytes in UTF-8`,
    token: `| \`token\` | text, units | 1 to ${thousands(maxTokenLength)} |`,
    name: `| \`name\` | well-formed text, units | 1 to ${maxNameLength} |`,
    metadata: `${kib(maxMetadataBytes)} as JSON text without white space, ${maxMetadataDepth} levels`,
    timeout: '| `timeout` | integer, ms | 0 to 2^31 - 1 |',
    lease: `from ${thousands(leaseMs.min)} to ${thousands(leaseMs.max)} ms`,
    'default lease': `${thousands(leaseMs.default)} if \`hello\` has none`,
    holders: `at most ${maxHoldersNamed} holders, and at most 16 KiB of them`,
    limit: `| \`limit\` | integer | 1 to ${thousands(maxQueryItems)} | no: ${thousands(maxQueryItems)} |`,
    ids: `| \`ids\` | array of ids | 0 to ${thousands(maxUnacknowledgedResponses)} items |`,
    answers: `At ${thousands(maxUnacknowledgedResponses)}\n  stored answers`,
    secret: `| \`secret\` | text, units | 1 to ${maxIdOrSecretLength} |`,
  }
  for (const [name, text] of Object.entries(passages)) {
    it(`says for ${name}: ${text}`, () => expect(page).to.include(text))
  }

  it('agrees with the code that 2^31 - 1 is the longest time', () =>
    expect(maxDurationMs).to.equal(2 ** 31 - 1))
})

describe('PROTOCOL.md: worked numbers', () => {
  /**
   * The code computes the results of the examples on the page. The arguments are the times and
   * durations of the examples, in ms.
   */
  const expectedBounds: Record<string, number> = {
    lease: safeDuration(15_000),
    'idle lease': safeDuration(30_000),
    'lease, shortest': safeDuration(2_000),
    'drop, with a grace': 100_000 + safeDuration(5_000),
    'lock, by request': 8_000 + safeDuration(10_000),
    // The ttl began 7,250 ms after the `welcome`. The safety margin depends on the second argument,
    // the ttl.
    'lock, by clock': 1_000 + safeDuration(507_250 - 500_000 + 10_000, 10_000),
    refresh: 20_000 + safeDuration(10_000),
    'refresh that shortens': 10_000 + safeDuration(2_000),
    'short ttl': safeDuration(100),
  }
  const rows = Array.from(page.matchAll(/\n\| ([\w ,]+) \| .+\*\*([\d,.]+)\*\* \|/g))

  it('has a row for each formula', () => {
    expect(rows.map(([, name]) => name)).to.deep.equal(Object.keys(expectedBounds))
  })

  for (const [, name, bound] of rows) {
    it(`computes "${name}" by the formula`, () => {
      expect(expectedBounds[name!]).to.be.closeTo(Number(bound!.replaceAll(',', '')), 1e-6)
    })
  }
})
