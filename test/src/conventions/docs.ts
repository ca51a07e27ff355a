/** Parses the parts of a Markdown page that tests check: links, headings, commands and examples. */
import { posix } from 'node:path'
import type { SourceFile } from './repository.js'

/** The links to files of the repository. `path` is from the root, `heading` is an anchor. */
export function localLinks(page: SourceFile): { path: string; heading: string | undefined }[] {
  // Leaves out links in code, because they are only examples.
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

/** The anchors that GitHub and other hosts give to the headings of a page. */
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
  const longForms = [...page.text.matchAll(/\bnpm run ([\w:-]+)/g)].map(
    ([, name]) => name as string,
  )
  const shortForms = [...page.text.matchAll(/\bnpm (start|test)\b/g)].map(
    ([, name]) => name as string,
  )
  return [...longForms, ...shortForms]
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
 * The block of code directly after a mark such as `<!-- first example -->`. Undefined if the page
 * has no such mark, or if no block follows the mark.
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
 * The commands in the two blocks after the mark `<!-- first commands -->`, without comments. Each
 * block is for a terminal of its own. Undefined if the mark or one of the blocks is missing.
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
