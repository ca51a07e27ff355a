/**
 * Changes JavaScript by symbol and structure: finds a symbol in a module, finds a pattern once in
 * the symbol, and puts other code there. A mutant (planted bug) is such a change. ast-grep finds
 * the patterns, whose metavariables (such as `$KEY`) match any code. This file finds the symbols,
 * and makes the patterns independent of comments and of the kind of quotes.
 */
import { type Edit, Lang, parse, type SgNode } from '@ast-grep/napi'

/** What to find in a symbol and what to put there. */
export interface Change {
  readonly find: string
  readonly replace: string
}

// The kinds of syntax nodes, as the parser of ast-grep names them.
const functionKinds = ['function_declaration', 'generator_function_declaration']
const variableKinds = ['lexical_declaration', 'variable_declaration']
const memberKinds = ['method_definition', 'field_definition', 'pair']
const nameKinds = ['identifier', 'shorthand_property_identifier']

/**
 * Returns the code without comments and with single quotes, because patterns are compared with code
 * of this form. Each line keeps its number.
 */
export function normalize(code: string): string {
  const root = rootOf(code)
  const edits: Edit[] = []
  for (const comment of root.findAll({ rule: { kind: 'comment' } })) {
    // A space and the line ends of the comment take its place.
    edits.push(comment.replace(` ${comment.text().replace(/[^\n]/g, '')}`))
  }
  for (const string of root.findAll({ rule: { kind: 'string' } })) {
    const text = string.text()
    // A string with quotes or escapes in it stays as it is.
    if (/^"[^'"\\]*"$/.test(text)) edits.push(string.replace(`'${text.slice(1, -1)}'`))
  }
  // The root node starts at the first token, so it does not contain the text before this token.
  return code.slice(0, root.range().start.index) + root.commitEdits(edits)
}

/** Returns whether the module declares the symbol, for instance `Granter.#grantSet`. */
export function declares(code: string, symbol: string): boolean {
  return nodesOf(rootOf(code), symbol).length > 0
}

/** Returns those symbols of a module that have exactly one match of the pattern. */
export function symbolsWith(code: string, find: string): string[] {
  const symbols = rootOf(normalize(code)).children().flatMap(declarationsIn).flatMap(symbolsOf)
  const pattern = normalize(find)
  return symbols.filter(([, node]) => matchesIn(node, pattern).length === 1).map(([name]) => name)
}

/**
 * Returns the module with the change in it.
 *
 * @throws if the module lacks the symbol, if the pattern does not match exactly once in the symbol,
 *   or if the code does not change. Also throws if the new code uses a variable or a private member
 *   that the module lacks.
 */
export function changeIn(code: string, symbol: string, { find, replace }: Change): string {
  const normalizedCode = normalize(code)
  const root = rootOf(normalizedCode)
  const nodes = nodesOf(root, symbol)
  if (nodes.length === 0) throw new Error(`No symbol ${symbol} in this module`)
  const matches = nodes.flatMap((node) => matchesIn(node, normalize(find)))
  if (matches.length !== 1) {
    throw new Error(
      `The pattern \`${find}\` matches ${matches.length} times in ${symbol}, not once: ` +
        `${matches.length === 0 ? 'adapt it to the present code' : 'make it more specific'}`,
    )
  }
  const unknownNames = namesAddedBy({ find, replace }).filter((name) => !isKnown(root, name))
  if (unknownNames.length > 0) {
    throw new Error(
      `The replacement \`${replace}\` in ${symbol} uses ${unknownNames.join(' and ')}, which the module ` +
        'does not have: write the replacement with the present names',
    )
  }
  const [match] = matches as [SgNode]
  const { start, end } = match.range()
  const changed = filledIn(replace, match, normalizedCode)
  if (tokensOf(changed).join(' ') === tokensOf(match.text()).join(' ')) {
    throw new Error(
      `The replacement \`${replace}\` in ${symbol} is the code that is there already: ` +
        'write the replacement so that it changes something',
    )
  }
  return normalizedCode.slice(0, start.index) + changed + normalizedCode.slice(end.index)
}

/** Returns the properties that the new code uses and the old code does not use. */
export function propertiesAddedBy({ find, replace }: Change): string[] {
  const oldNames = new Set(namesIn(rootOf(find), ['property_identifier']))
  return namesIn(rootOf(replace), ['property_identifier']).filter((name) => !oldNames.has(name))
}

/**
 * Returns the variables and private members that the new code uses and the old code does not use.
 */
function namesAddedBy({ find, replace }: Change): string[] {
  const kinds = [...nameKinds, 'private_property_identifier']
  const oldNames = new Set(namesIn(rootOf(find), kinds))
  return namesIn(rootOf(replace), kinds).filter(
    (name) => !oldNames.has(name) && !name.startsWith('$'),
  )
}

function isKnown(root: SgNode, name: string): boolean {
  if (name in globalThis) return true
  return namesIn(root, [...nameKinds, 'private_property_identifier']).includes(name)
}

function namesIn(root: SgNode, kinds: readonly string[]): string[] {
  const nodes = root.findAll({ rule: { any: kinds.map((kind) => ({ kind })) } })
  return [...new Set(nodes.map((node) => node.text()))]
}

/** Returns the tokens of the code, which do not depend on spaces and line ends. */
function tokensOf(code: string): string[] {
  const tokens: string[] = []
  const visit = (node: SgNode) => {
    const children = node.children()
    if (children.length === 0) tokens.push(node.text())
    else for (const child of children) visit(child)
  }
  visit(rootOf(code))
  return tokens
}

function rootOf(code: string): SgNode {
  return parse(Lang.JavaScript, code).root()
}

/**
 * Returns the declarations of a symbol. A getter and a setter of the same name are two
 * declarations.
 */
function nodesOf(root: SgNode, symbol: string): SgNode[] {
  const [name, member] = symbol.split('.')
  const declarations = root.children().flatMap(declarationsIn)
  const declarationsOfName = declarations.filter((node) => node.field('name')?.text() === name)
  if (member === undefined) return declarationsOfName
  return declarationsOfName.flatMap(membersOf).filter((node) => nameOfMember(node) === member)
}

/** Returns the classes, functions and variables that a statement of a module declares. */
function declarationsIn(statement: SgNode): SgNode[] {
  const kind = String(statement.kind())
  if (kind === 'export_statement') return statement.children().flatMap(declarationsIn)
  if (kind === 'class_declaration' || functionKinds.includes(kind)) return [statement]
  if (!variableKinds.includes(kind)) return []
  return statement.children().filter((node) => node.kind() === 'variable_declarator')
}

/** Returns the members of a class, or of a variable that contains a class or an object. */
function membersOf(declaration: SgNode): SgNode[] {
  const value = declaration.field('value') ?? declaration
  const body = value.field('body') ?? value
  return body.children().filter((node) => memberKinds.includes(String(node.kind())))
}

/**
 * Returns the members of a declaration with their symbols, or the declaration itself if it has no
 * members.
 */
function symbolsOf(declaration: SgNode): [symbol: string, node: SgNode][] {
  const name = declaration.field('name')?.text() ?? ''
  const nodes = membersOf(declaration)
  if (nodes.length === 0) return [[name, declaration]]
  return nodes.map((node) => [`${name}.${nameOfMember(node)}`, node])
}

/** Returns the name of a member, without the quotes of a name such as `'close'`. */
function nameOfMember(member: SgNode): string | undefined {
  const name = member.field('name') ?? member.field('property') ?? member.field('key')
  return name?.text().replace(/^'(.*)'$/, '$1')
}

function matchesIn(node: SgNode, pattern: string): SgNode[] {
  try {
    return node.findAll(pattern)
  } catch (error) {
    throw new Error(`\`${pattern}\` is not a pattern of ast-grep: ${(error as Error).message}`)
  }
}

/** Fills into the replacement, for each metavariable, the code that the metavariable matched. */
function filledIn(replacement: string, match: SgNode, code: string): string {
  return replacement.replace(
    /(\$\$\$|\$)([A-Z][A-Z0-9_]*)/g,
    (metavariable, prefix: string, name: string) => {
      if (prefix === '$') {
        const node = match.getMatch(name)
        if (node === null)
          throw new Error(`The replacement uses ${metavariable}, which the pattern lacks`)
        return node.text()
      }
      const nodes = match.getMultipleMatches(name)
      // If the metavariable matched no code, the slice is empty because it ends at 0.
      return code.slice(nodes.at(0)?.range().start.index, nodes.at(-1)?.range().end.index ?? 0)
    },
  )
}
