/**
 * Finds the names that a source file uses, and the lines where the file is asynchronous. Reads the
 * syntax tree, because a comment, a string or a property may also have the name of a global, such
 * as `process`.
 */
import { parse } from '@babel/parser'
import type { SourceFile } from './repository.js'

/** The use of a name in a line. */
export interface NameUse {
  readonly name: string
  readonly line: number
}

export interface Syntax {
  /** The names that the file uses as values or types. `a.b` gives only the name `a.b`. */
  readonly names: readonly NameUse[]
  /** The lines with `async` or `await`. */
  readonly asyncLines: readonly number[]
}

interface Node {
  readonly type: string
  readonly loc?: { readonly start: { readonly line: number } }
  readonly [field: string]: unknown
}

const cache = new WeakMap<SourceFile, Syntax>()

/** Parses a source file, once for all rules. */
export function syntaxOf(file: SourceFile): Syntax {
  const known = cache.get(file)
  if (known !== undefined) return known
  const program = parse(file.text, {
    sourceType: 'module',
    plugins: [
      'typescript',
      'explicitResourceManagement',
      // Only a `.tsx` file has JSX elements. In a `.ts` file, `<T>` begins a type assertion.
      ...(file.path.endsWith('x') ? (['jsx'] as const) : []),
    ],
    sourceFilename: file.path,
  }).program as unknown as Node
  const syntax = new Reader(program).result()
  cache.set(file, syntax)
  return syntax
}

class Reader {
  readonly #names: NameUse[] = []
  readonly #asyncLines: number[] = []

  constructor(program: Node) {
    this.#visit(program, undefined, '')
  }

  result(): Syntax {
    return { names: this.#names, asyncLines: this.#asyncLines }
  }

  #visit(node: Node, parent: Node | undefined, field: string): void {
    if (node['async'] === true || node['await'] === true || node.type === 'AwaitExpression') {
      this.#asyncLines.push(lineOf(node))
    }
    this.#readName(node, parent, field)
    for (const [name, value] of Object.entries(node)) {
      // Skips comments, which are in fields such as `comments` and `leadingComments`.
      if (name === 'loc' || name.endsWith('omments')) continue
      for (const child of Array.isArray(value) ? value : [value]) {
        if (isNode(child)) this.#visit(child, node, name)
      }
    }
  }

  #readName(node: Node, parent: Node | undefined, field: string): void {
    if (node.type === 'MetaProperty') this.#names.push({ name: 'import.meta', line: lineOf(node) })
    if (node.type !== 'Identifier' || isNotVariable(parent, field)) return
    const name = String(node['name'])
    // For the name `a` in `a.b`, `member` is `b`.
    const member = field === 'object' && parent?.['computed'] !== true && parent?.['property']
    const fullName =
      isNode(member) && member.type === 'Identifier' ? `${name}.${member['name']}` : name
    this.#names.push({ name: fullName, line: lineOf(node) })
  }
}

/** Whether an identifier in this field of its parent is not a variable but, say, a member. */
function isNotVariable(parent: Node | undefined, field: string): boolean {
  if (field === 'property' || field === 'key') return parent?.['computed'] !== true
  // The word `global` in `declare global` is not a variable.
  if (parent?.type === 'TSModuleDeclaration' && field === 'id') return true
  return parent?.type === 'PrivateName' || (parent?.type === 'TSQualifiedName' && field === 'right')
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as Node).type === 'string'
}

function lineOf(node: Node): number {
  return node.loc?.start.line ?? 0
}
