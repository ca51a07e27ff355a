/**
 * PROTOCOL.md as data: its tables of messages, errors and close codes, so that the page and the
 * code can be held to each other. What the tables say beyond names and fields is for people.
 */
import { readFileSync } from 'node:fs'

const shared = new URL('../../../shared/', import.meta.url)

/** The contract in prose. */
export const page = readFileSync(new URL('PROTOCOL.md', shared), 'utf8')

/** A field by its name: whether it may be left out, and the fields within, if it has any. */
export type Fields = Record<string, { readonly optional: boolean; readonly within?: Fields }>

/** The rows of the only table of a section, without head and rule, each a list of cells. */
function rowsOf(section: string): string[][] {
  const [, after] = page.split(`\n## ${section}`)
  if (after === undefined) throw new Error(`PROTOCOL.md has no section "${section}"`)
  const [body = ''] = after.split('\n## ')
  const rows = body.split('\n').filter((line) => line.startsWith('|'))
  return rows.slice(2).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

/** What is in backquotes. */
function codeIn(text: string): string[] {
  return Array.from(text.matchAll(/`([^`]+)`/g), ([, code]) => code!)
}

/** `{session, secret}` or `[{id, ttl?}]` as fields. */
function fieldsWithin(code: string): Fields {
  const names = code.replace(/[[\]{}]/g, '').split(', ')
  return Object.fromEntries(names.map(fieldFrom))
}

function fieldFrom(name: string): [string, { optional: boolean }] {
  return [name.replace('?', ''), { optional: name.endsWith('?') }]
}

/**
 * The fields of a message: the names outside of brackets, each with what is in the braces after it.
 */
function fieldsIn(cell: string): Fields {
  const fields: Fields = {}
  let last = ''
  for (const code of codeIn(cell.replace(/\([^()]*\)/g, ''))) {
    if (/^[a-zA-Z]+\??$/.test(code)) {
      const [name, field] = fieldFrom(code)
      fields[name] = field
      last = name
    } else if (/^\[?\{/.test(code)) {
      fields[last] = { ...fields[last]!, within: fieldsWithin(code) }
    }
  }
  return fields
}

function messagesOf(section: string): Map<string, Fields> {
  return new Map(
    rowsOf(section).flatMap(([names, fields]) =>
      codeIn(names!).map((name) => [name, fieldsIn(fields!)] as const),
    ),
  )
}

export const clientMessages = messagesOf('3. Messages from the client')
export const serverMessages = messagesOf('4. Messages from the broker')

/** The error codes that a broker sends. */
export const brokerErrors = rowsOf('8. Errors, and who may do what').flatMap(([codes]) =>
  codeIn(codes!),
)

/** The error codes that the page gives to clients alone, in the sentence that begins so. */
export const clientErrors = codeIn(
  /\nA client library has codes of its own,([\s\S]*?)\n\n/.exec(page)?.[1] ?? '',
)

export const closeRows = rowsOf('9. Close codes').map(([code, reason, , again]) => ({
  code: Number(code),
  reason,
  final: again === 'no',
}))

// ---------------------------------------------------------------------- the code, read as text

interface Interface {
  readonly type: string | undefined
  readonly fields: Fields
}

interface Declared {
  readonly client: Map<string, Fields>
  readonly server: Map<string, Fields>
}

/** The messages as their interfaces declare them for the compiler, by direction and `type`. */
export function declaredMessages(): Declared {
  const files = ['errors.ts', 'messages/clientMessages.ts', 'messages/brokerMessages.ts']
  const [errors, client, broker] = files.map((file) =>
    readFileSync(new URL(`src/${file}`, shared), 'utf8'),
  )
  const source = `${errors}\n${client}\n${broker}`
  const turn = source.length - broker!.length
  const bodies = new Map<string, { base: string | undefined; body: string; at: number }>()
  const declaration =
    /\nexport (?:interface (\w+)(?: extends (\w+))?|type (\w+) = (\w+) &) \{\n([\s\S]*?)\n\}/g
  for (const match of source.matchAll(declaration)) {
    const [, name, base, alias, also, body] = match
    bodies.set((name ?? alias)!, { base: base ?? also, body: body!, at: match.index })
  }

  function read(name: string): Interface {
    const { base, body } = bodies.get(name)!
    const fields: Fields = base === undefined ? {} : { ...read(base).fields }
    let type: string | undefined
    for (const [, field, optional, is] of body.matchAll(/^ {2}readonly (\w+)(\??): (.+)$/gm)) {
      if (field === 'type') {
        type = /^'(\w+)'$/.exec(is!)?.[1]
        continue
      }
      const inner = /^(?:readonly )?(\w+)(?:\[\])?(?: \| undefined)?$/.exec(is!)?.[1]
      const inline = Array.from(is!.matchAll(/readonly (\w+)(\??): /g), ([, one, maybe]) =>
        fieldFrom(`${one}${maybe}`),
      )
      const within =
        inline.length > 0
          ? Object.fromEntries(inline)
          : inner !== undefined && bodies.has(inner)
            ? read(inner).fields
            : undefined
      fields[field!] = { optional: optional === '?', ...(within === undefined ? {} : { within }) }
    }
    return { type, fields }
  }

  const declared = { client: new Map<string, Fields>(), server: new Map<string, Fields>() }
  for (const [name, { at }] of bodies) {
    const { type, fields } = read(name)
    if (type !== undefined) declared[at < turn ? 'client' : 'server'].set(type, fields)
  }
  return declared
}
