/**
 * What the walls need to know of a source file: what it imports, which names it uses, and how
 * long its functions are. Read from the syntax tree, so that neither a comment nor a string nor a
 * property that happens to be called `process` is taken for the thing.
 */
import { parse } from '@babel/parser'
import type { SourceFile } from './repository.js'

export interface Import {
  readonly specifier: string
  readonly line: number
  /** Only types: nothing is left of it at run time. */
  readonly typeOnly: boolean
}

export interface Use {
  readonly name: string
  readonly line: number
}

export interface FunctionLength {
  readonly name: string
  readonly line: number
  readonly lines: number
}

export interface Syntax {
  readonly imports: readonly Import[]
  /** Every name in a value or a type that is not a member's; of `a.b`, it is `a.b` whole. */
  readonly names: readonly Use[]
  readonly functions: readonly FunctionLength[]
  /** Where something is `async` or awaits. */
  readonly asyncLines: readonly number[]
}

interface Node {
  readonly type: string
  readonly loc?: { readonly start: { readonly line: number }; readonly end: { line: number } }
  readonly [field: string]: unknown
}

const cache = new WeakMap<SourceFile, Syntax>()

export function syntaxOf(file: SourceFile): Syntax {
  const known = cache.get(file)
  if (known !== undefined) return known
  const program = parse(file.text, {
    sourceType: 'module',
    plugins: [
      'typescript',
      'explicitResourceManagement',
      ...(file.path.endsWith('x') ? (['jsx'] as const) : []),
    ],
    sourceFilename: file.path,
  }).program as unknown as Node
  const syntax = new Reader(program).result()
  cache.set(file, syntax)
  return syntax
}

class Reader {
  readonly #imports: Import[] = []
  readonly #names: Use[] = []
  readonly #functions: FunctionLength[] = []
  readonly #asyncLines: number[] = []

  constructor(program: Node) {
    this.#visit(program, undefined, '')
  }

  result(): Syntax {
    return {
      imports: this.#imports,
      names: this.#names,
      functions: this.#functions,
      asyncLines: this.#asyncLines,
    }
  }

  #visit(node: Node, parent: Node | undefined, field: string): void {
    this.#readModule(node, parent)
    this.#readFunction(node, parent)
    this.#readName(node, parent, field)
    for (const [name, value] of Object.entries(node)) {
      if (name === 'loc' || name.endsWith('omments')) continue
      for (const child of Array.isArray(value) ? value : [value]) {
        if (isNode(child)) this.#visit(child, node, name)
      }
    }
  }

  #readModule(node: Node, parent: Node | undefined): void {
    const source = node['source']
    if (isNode(source) && /^(Import|Export)\w*Declaration$/.test(node.type)) {
      const typeOnly = node['importKind'] === 'type' || node['exportKind'] === 'type'
      this.#imports.push({ specifier: String(source['value']), line: lineOf(node), typeOnly })
    }
    // `import()` may name its module only at run time, and in a type it is the type of one.
    if (
      node.type === 'ImportExpression' ||
      node.type === 'Import' ||
      node.type === 'TSImportType'
    ) {
      const typeOnly = node.type === 'TSImportType'
      const [named] = (parent?.['arguments'] ?? []) as Node[]
      const isLiteral = node.type === 'Import' && named?.type === 'StringLiteral'
      const specifier = isLiteral ? String(named['value']) : 'import()'
      this.#imports.push({ specifier, line: lineOf(node), typeOnly })
    }
  }

  #readFunction(node: Node, parent: Node | undefined): void {
    if (node['async'] === true || node['await'] === true || node.type === 'AwaitExpression') {
      this.#asyncLines.push(lineOf(node))
    }
    if (!isNode(node['body']) || !/Function|Method$/.test(node.type)) return
    const named = [node['id'], node['key'], parent?.['id'], parent?.['key']].find(isNode)
    const key = named?.type === 'PrivateName' ? named['id'] : named
    const name = isNode(key) && typeof key['name'] === 'string' ? key['name'] : 'a function'
    const lines = (node.loc?.end.line ?? 0) - lineOf(node) + 1
    this.#functions.push({ name, line: lineOf(node), lines })
  }

  #readName(node: Node, parent: Node | undefined, field: string): void {
    if (node.type === 'MetaProperty') this.#names.push({ name: 'import.meta', line: lineOf(node) })
    if (node.type !== 'Identifier' || isMember(parent, field)) return
    const name = String(node['name'])
    const member = field === 'object' && parent?.['computed'] !== true && parent?.['property']
    const whole =
      isNode(member) && member.type === 'Identifier' ? `${name}.${member['name']}` : name
    this.#names.push({ name: whole, line: lineOf(node) })
  }
}

/** Whether an identifier in this place only names a member of something. */
function isMember(parent: Node | undefined, field: string): boolean {
  if (field === 'property' || field === 'key') return parent?.['computed'] !== true
  // The word of `declare global`, which is no variable.
  if (parent?.type === 'TSModuleDeclaration' && field === 'id') return true
  return parent?.type === 'PrivateName' || (parent?.type === 'TSQualifiedName' && field === 'right')
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as Node).type === 'string'
}

function lineOf(node: Node): number {
  return node.loc?.start.line ?? 0
}
