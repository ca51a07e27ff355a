/**
 * PROTOCOL.md as data: its messages with their fields and examples, its transcripts, and its table
 * of errors and close codes. Tests compare them with the code. What else the page says is for
 * people.
 */
import { readFileSync } from 'node:fs'

const shared = new URL('../../../shared/', import.meta.url)

/** The text of the page. */
export const page = readFileSync(new URL('PROTOCOL.md', shared), 'utf8')

/** A field by its name: whether it may be left out, and the fields within, if it has any. */
export type Fields = Record<string, { readonly optional: boolean; readonly within?: Fields }>

/** One message of the page. */
export interface PageMessage {
  readonly fields: Fields
  /** The JSON texts that show the message. */
  readonly examples: readonly string[]
}

/** The text of a section without its sub-sections of the same or a higher level. */
function sectionOf(heading: string, text = page): string {
  const [, after] = text.split(`\n${heading}\n`)
  if (after === undefined) throw new Error(`PROTOCOL.md has no section "${heading}"`)
  const level = heading.indexOf(' ')
  return after.split(new RegExp(`\n#{2,${level}} `))[0]!
}

/** The rows of the only table in a text, without head and rule, each a list of cells. */
function rowsOf(text: string): string[][] {
  const rows = text.split('\n').filter((line) => line.startsWith('|'))
  return rows.slice(2).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

/** The texts in backquotes. */
function codeIn(text: string): string[] {
  return Array.from(text.matchAll(/`([^`]+)`/g), ([, code]) => code!)
}

/** The blocks of code in a language. */
function blocksOf(language: string, text: string): string[] {
  const block = new RegExp(`\n\`\`\`${language}\n([\\s\\S]*?)\n\`\`\``, 'g')
  return Array.from(text.matchAll(block), ([, code]) => code!)
}

/** What comes before the first heading within a text. */
function ownText(section: string): string {
  return section.split('\n#')[0]!
}

/** The section that a link such as `[held items](#held-item)` leads to. */
function linkedFields(type: string): Fields | undefined {
  const anchor = /\]\(#([\w-]+)\)/.exec(type)?.[1]
  if (anchor === undefined) return undefined
  const heading = Array.from(page.matchAll(/\n(#### (.+))\n/g)).find(
    ([, , title]) => title!.toLowerCase().replaceAll(' ', '-') === anchor,
  )
  if (heading === undefined) throw new Error(`PROTOCOL.md has no item "${anchor}"`)
  return fieldsIn(ownText(sectionOf(heading[1]!)))
}

function fieldsIn(text: string): Fields {
  return Object.fromEntries(
    rowsOf(text).map(([name, type, , required]) => {
      const within = linkedFields(type!)
      const isRequired = required === 'yes'
      if (!isRequired && !required!.startsWith('no: ')) {
        throw new Error(`"required" of ${name} says neither "yes" nor "no: ..."`)
      }
      const field = { optional: !isRequired, ...(within === undefined ? {} : { within }) }
      return [codeIn(name!)[0]!, field]
    }),
  )
}

function messagesOf(heading: string): Map<string, PageMessage> {
  const section = sectionOf(heading)
  const names = Array.from(section.matchAll(/\n### `(\w+)`\n/g), ([, name]) => name!)
  return new Map(
    names.map((name) => {
      const text = ownText(sectionOf(`### \`${name}\``, section))
      return [name, { fields: fieldsIn(text), examples: blocksOf('json', text) }] as const
    }),
  )
}

export const clientMessages = messagesOf('## 5. Messages from the client')
export const serverMessages = messagesOf('## 6. Messages from the broker')

/** The frames of all transcripts, each with the side that sends it. */
export const transcriptFrames = blocksOf('text', sectionOf('## 19. Transcripts')).flatMap((text) =>
  text
    .split('\n')
    .filter((line) => !line.startsWith('# '))
    .map((line) => ({
      by: line.startsWith('> ') ? ('client' as const) : ('broker' as const),
      text: line.replace(/^[<>] /, ''),
    })),
)

const errorsSection = sectionOf('## 12. Errors and close codes')

/** What a client can do after an error, as the list before the table names it. */
export const actions = Array.from(
  errorsSection.matchAll(/\n- \*\*([\w ]+)\*\*:/g),
  ([, name]) => name!,
)

/** A row of the table of errors and close codes. */
export interface ErrorRow {
  readonly codes: readonly string[]
  readonly reason: string
  /** The actions that the row names, the usual one first. */
  readonly actions: readonly string[]
}

export const errorRows: readonly ErrorRow[] = rowsOf(errorsSection).map(
  ([codes, reason, , action]) => ({
    codes: codeIn(codes!),
    reason: codeIn(reason!)[0] ?? '',
    actions: Array.from(action!.matchAll(/\*\*([\w ]+)\*\*/g), ([, name]) => name!),
  }),
)

/** The error codes that a broker sends. */
export const brokerErrors = errorRows.flatMap(({ codes }) =>
  codes.filter((code) => /^[A-Z_]+$/.test(code)),
)

/** The error codes that the page gives to clients alone, in the sentence that begins so. */
export const clientErrors = codeIn(
  /\nA client library has error codes of its own,([\s\S]*?)\n\n/.exec(page)?.[1] ?? '',
)

/** The close codes that have a row, with the action for each. */
export const closeRows = errorRows.flatMap(({ codes, reason, actions: [action] }) =>
  codes
    .filter((code) => /^\d{4}$/.test(code))
    .map((code) => ({ code: Number(code), reason, action: action! })),
)

/** The limits by name, each with its value. */
export const limitRows = new Map(
  rowsOf(sectionOf('## 14. Limits')).map(([name, value]) => [name!, value!] as const),
)

// ---------------------------------------------------------------------- the code, read as text

interface Interface {
  readonly type: string | undefined
  readonly fields: Fields
}

interface Declared {
  readonly client: Map<string, Fields>
  readonly server: Map<string, Fields>
}

function fieldFrom(name: string): [string, { optional: boolean }] {
  return [name.replace('?', ''), { optional: name.endsWith('?') }]
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
