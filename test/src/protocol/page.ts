/**
 * Reads the page PROTOCOL.md as data: its messages with their fields and examples, its transcripts,
 * and its tables of errors, close codes and limits. Also reads the messages that the code declares.
 * Tests compare the page with the code.
 */
import { readFileSync } from 'node:fs'

const shared = new URL('../../../shared/', import.meta.url)

/** The text of the page. */
export const page = readFileSync(new URL('PROTOCOL.md', shared), 'utf8')

/** Fields by name. If a field holds an object or a list of objects, `within` has their fields. */
export type Fields = Record<string, { readonly optional: boolean; readonly within?: Fields }>

/** One message of the page. */
export interface PageMessage {
  readonly fields: Fields
  /** The JSON texts that show the message. */
  readonly examples: readonly string[]
}

/** The text of a section up to the next heading of the same or a higher level. */
function sectionOf(heading: string, text = page): string {
  const [, after] = text.split(`\n${heading}\n`)
  if (after === undefined) throw new Error(`PROTOCOL.md has no section "${heading}"`)
  // The number of the signs `#` before the title.
  const level = heading.indexOf(' ')
  return after.split(new RegExp(`\n#{2,${level}} `))[0]!
}

/** The rows of the only table in a text, as lists of cells, without the two header lines. */
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

/** The text of a section before its first inner heading. */
function ownText(section: string): string {
  return section.split('\n#')[0]!
}

/**
 * The fields of the sections that a cell of the column "type" links to, such as
 * `[held items](#held-item)`; undefined without links. Several sections are alternatives, so a
 * field is required only if all of them require the field.
 */
function linkedFields(typeCell: string): Fields | undefined {
  const anchors = Array.from(typeCell.matchAll(/\]\(#([\w-]+)\)/g), ([, anchor]) => anchor!)
  return anchors.length === 0 ? undefined : alternatives(anchors.map(fieldsOfItem))
}

/** Joins the fields of the alternative forms of an object. */
function alternatives(forms: readonly Fields[]): Fields {
  const names = new Set(forms.flatMap((fields) => Object.keys(fields)))
  return Object.fromEntries(
    [...names].map((name) => {
      const optional = forms.some((fields) => fields[name]?.optional !== false)
      const formWithName = forms.find((fields) => fields[name] !== undefined)!
      return [name, { ...formWithName[name]!, optional }]
    }),
  )
}

/** The fields of the section with this anchor. */
function fieldsOfItem(anchor: string): Fields {
  const heading = Array.from(page.matchAll(/\n(#### (.+))\n/g)).find(
    ([, , title]) => title!.toLowerCase().replaceAll(' ', '-') === anchor,
  )
  if (heading === undefined) throw new Error(`PROTOCOL.md has no item "${anchor}"`)
  return fieldsIn(ownText(sectionOf(heading[1]!)))
}

/** The fields in the table of a section. */
function fieldsIn(text: string): Fields {
  return Object.fromEntries(
    rowsOf(text).map(([name, type, , required]) => {
      const within = linkedFields(type!)
      const isRequired = required === 'yes'
      if (!isRequired && !required!.startsWith('no: ')) {
        throw new Error(`The column "required" of ${name} must be "yes" or "no: ..."`)
      }
      const field = { optional: !isRequired, ...(within === undefined ? {} : { within }) }
      return [codeIn(name!)[0]!, field]
    }),
  )
}

/** The messages of a section, by type. */
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

/** The actions of a client after an error: the names in the list before the table. */
export const actions = Array.from(
  errorsSection.matchAll(/\n- \*\*([\w ]+)\*\*:/g),
  ([, name]) => name!,
)

/** A row of the table of errors and close codes. */
export interface ErrorRow {
  readonly codes: readonly string[]
  /** The first text in backquotes of the column "reason"; '' if the cell has no such text. */
  readonly reason: string
  /** The actions of the row, the usual action first. */
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

/** The error codes that only client libraries use, from one sentence of the page. */
export const clientErrors = codeIn(
  /\nA client library has error codes of its own,([\s\S]*?)\n\n/.exec(page)?.[1] ?? '',
)

/** The close codes that have a row, each with its reason and its usual action. */
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

/** An interface of the code. `type` is undefined if the interface is only a part of messages. */
interface DeclaredInterface {
  readonly type: string | undefined
  readonly fields: Fields
}

interface DeclaredMessages {
  readonly client: Map<string, Fields>
  readonly server: Map<string, Fields>
}

/** Parses a field such as `ttl?`. */
function fieldFrom(name: string): [string, { optional: boolean }] {
  return [name.replace('?', ''), { optional: name.endsWith('?') }]
}

/** The messages that the interfaces of the code declare, by sender and then by `type`. */
export function declaredMessages(): DeclaredMessages {
  const messageFiles = ['clientMessages', 'queryItems', 'brokerMessages']
  const files = ['errors.ts', ...messageFiles.map((name) => `messages/${name}.ts`)]
  const texts = files.map((file) => readFileSync(new URL(`src/${file}`, shared), 'utf8'))
  const source = texts.join('\n')
  // The messages of a broker are in the last file, so their declarations begin at this offset or
  // after it.
  const brokerText = texts.at(-1)
  const brokerStart = source.length - brokerText!.length
  /** The declarations of interfaces, and of types such as `A = B & {`, by name. */
  const bodies = new Map<string, { base: string | undefined; body: string; offset: number }>()
  const declaration =
    /\nexport (?:interface (\w+)(?: extends (\w+))?|type (\w+) = (\w+) &) \{\n([\s\S]*?)\n\}/g
  for (const match of source.matchAll(declaration)) {
    const [, name, base, alias, aliasBase, body] = match
    bodies.set((name ?? alias)!, { base: base ?? aliasBase, body: body!, offset: match.index })
  }

  /** Reads a declaration, with the fields of its base and of the objects in its fields. */
  function read(name: string): DeclaredInterface {
    const { base, body } = bodies.get(name)!
    const fields: Fields = base === undefined ? {} : { ...read(base).fields }
    let type: string | undefined
    const fieldPattern = /^ {2}readonly (\w+)(\??): (.+)$/gm
    for (const [, field, optional, fieldType] of body.matchAll(fieldPattern)) {
      if (field === 'type') {
        type = /^'(\w+)'$/.exec(fieldType!)?.[1]
        continue
      }
      const innerName = /^(?:readonly )?(\w+)(?:\[\])?(?: \| undefined)?$/.exec(fieldType!)?.[1]
      const unionNames = fieldType!.split(' | ').filter((member) => bodies.has(member))
      const inlineFields = Array.from(
        fieldType!.matchAll(/readonly (\w+\??): /g),
        ([, innerField]) => fieldFrom(innerField!),
      )
      const within =
        inlineFields.length > 0
          ? Object.fromEntries(inlineFields)
          : unionNames.length > 1
            ? alternatives(unionNames.map((member) => read(member).fields))
            : innerName !== undefined && bodies.has(innerName)
              ? read(innerName).fields
              : undefined
      fields[field!] = { optional: optional === '?', ...(within === undefined ? {} : { within }) }
    }
    return { type, fields }
  }

  const declared = { client: new Map<string, Fields>(), server: new Map<string, Fields>() }
  for (const [name, { offset }] of bodies) {
    const { type, fields } = read(name)
    if (type !== undefined) declared[offset < brokerStart ? 'client' : 'server'].set(type, fields)
  }
  return declared
}
