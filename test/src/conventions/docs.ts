/** Parses the parts of a Markdown page that tests check: links, headings, commands and examples. */
import { posix } from 'node:path'
import type { SourceFile } from './repository.js'

/** The links to files of the repository: the path from its root, and the anchor of a heading. */
export function localLinks(page: SourceFile): { path: string; heading: string | undefined }[] {
  // A link in code is only an example.
  const text = withoutBlocks(page.text).replace(/`[^`\n]*`/g, '')
  return (
    [...text.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, target]) => target as string)
      // Leaves out URLs such as `https://example.org`.
      .filter((target) => !/^[a-z]+:/.test(target))
      .map((target) => {
        const [path = '', heading] = target.split('#')
        const folder = posix.dirname(page.path)
        return { path: path === '' ? page.path : posix.join(folder, path), heading }
      })
  )
}

/** The anchors of the headings in a page, as GitHub and other hosts make the anchors. */
export function anchors(page: SourceFile): string[] {
  return [...withoutBlocks(page.text).matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    (title as string)
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-'),
  )
}

/** The npm scripts in the commands of a page. */
export function namedScripts(page: SourceFile): string[] {
  const run = [...page.text.matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name]) => name as string)
  const short = [...page.text.matchAll(/\bnpm (start|test)\b/g)].map(([, name]) => name as string)
  return [...run, ...short]
}

/** The imports from packages of Holdfast in the examples of a page. */
export function namedImports(page: SourceFile): { from: string; names: string[] }[] {
  const blocks = page.text.match(/^```.*?^```/gms)?.join('\n') ?? ''
  return [...blocks.matchAll(/\bimport \{([^}]+)\} from '(@holdfast\/[\w/]+)'/g)].map(
    ([, names, from]) => ({
      from: from as string,
      names: (names as string).split(',').map((name) => name.trim()),
    }),
  )
}

/**
 * The code after the mark `<!-- first example -->`, or another mark; undefined if the page has no
 * such mark.
 */
export function firstExample(
  page: SourceFile,
  mark = 'first example',
): { language: string; code: string } | undefined {
  const [, text = ''] = page.text.split(`<!-- ${mark} -->`)
  const [, language, code] = /^\s*```(\w+)[^\n]*\n(.*?)\n```/s.exec(text) ?? []
  return language === undefined || code === undefined ? undefined : { language, code }
}

/**
 * The commands, without comments, in the two blocks after the mark `<!-- first commands -->`. Each
 * block is for a terminal of its own, so the result has a list for each terminal. Undefined if the
 * mark or one of the blocks is missing.
 */
export function firstCommandsByTerminal(page: SourceFile): string[][] | undefined {
  const [, text] = page.text.split('<!-- first commands -->')
  const blocks = text === undefined ? [] : [...text.matchAll(/^```sh\n(.*?)\n```/gms)].slice(0, 2)
  if (blocks.length < 2) return undefined
  return blocks.map(([, lines = '']) => lines.split('\n').map((line) => line.replace(/\s+#.*/, '')))
}

/** Removes the blocks of code. */
function withoutBlocks(text: string): string {
  return text.replace(/^```.*?^```/gms, '')
}
