/** What of a Markdown page can be checked: its links, its headings, the commands that it names. */
import { posix } from 'node:path'
import type { SourceFile } from './repository.js'

/** Links to files of the repository, as paths from its root, with the heading if one is named. */
export function localLinks(page: SourceFile): { path: string; heading: string | undefined }[] {
  const text = withoutBlocks(page.text).replace(/`[^`\n]*`/g, '')
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target as string)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [path = '', heading] = target.split('#')
      const from = posix.dirname(page.path)
      return { path: path === '' ? page.path : posix.join(from, path), heading }
    })
}

/** The anchors of a page's headings, as hosts of repositories make them. */
export function anchors(page: SourceFile): string[] {
  return [...withoutBlocks(page.text).matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    (title as string)
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-'),
  )
}

/** The scripts that a page tells its reader to run with npm. */
export function namedScripts(page: SourceFile): string[] {
  const run = [...page.text.matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name]) => name as string)
  const short = [...page.text.matchAll(/\bnpm (start|test)\b/g)].map(([, name]) => name as string)
  return [...run, ...short]
}

/** What the examples of a page import of ours: from where, and by which names. */
export function namedImports(page: SourceFile): { from: string; names: string[] }[] {
  const blocks = page.text.match(/^```.*?^```/gms)?.join('\n') ?? ''
  return [...blocks.matchAll(/\bimport \{([^}]+)\} from '(@holdfast\/[\w/]+)'/g)].map(
    ([, names, from]) => ({
      from: from as string,
      names: (names as string).split(',').map((name) => name.trim()),
    }),
  )
}

/** The code after the mark `<!-- first example -->`; undefined if the page has none. */
export function firstExample(page: SourceFile): { language: string; code: string } | undefined {
  const [, language, code] =
    /<!-- first example -->\s*```(\w+)[^\n]*\n(.*?)\n```/s.exec(page.text) ?? []
  return language === undefined || code === undefined ? undefined : { language, code }
}

/**
 * The commands after the mark `<!-- first commands -->`, without their comments: a list for each
 * terminal. Undefined if the page has none.
 */
export function firstCommands(page: SourceFile): string[][] | undefined {
  const [, block] = /<!-- first commands -->\s*```sh\n(.*?)\n```/s.exec(page.text) ?? []
  const commands = (lines: string) => lines.split('\n').map((line) => line.replace(/\s+#.*/, ''))
  return block?.split('\n\n').map(commands)
}

function withoutBlocks(text: string): string {
  return text.replace(/^```.*?^```/gms, '')
}
