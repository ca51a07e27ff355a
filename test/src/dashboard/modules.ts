/**
 * The parts of the dashboard that need no browser, as the compiler made them. They are bundled for
 * pages and are no entry of the package, so tests reach for the files.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type * as Book from '../../../server/src/dashboard/model/book.js'
import type * as Graph from '../../../server/src/dashboard/model/graph.js'
import type * as Series from '../../../server/src/dashboard/model/series.js'
import type * as Sessions from '../../../server/src/dashboard/model/sessions.js'
import type * as Tail from '../../../server/src/dashboard/model/tail.js'
import type * as Words from '../../../server/src/dashboard/model/words.js'
import { root } from '../house/repository.js'

interface Modules {
  readonly book: typeof Book
  readonly graph: typeof Graph
  readonly series: typeof Series
  readonly sessions: typeof Sessions
  readonly tail: typeof Tail
  readonly words: typeof Words
}

export async function load<N extends keyof Modules>(name: N): Promise<Modules[N]> {
  const path = join(root, `server/dist/dashboard/model/${name}.js`)
  return (await import(pathToFileURL(path).href)) as Modules[N]
}

export type { Book } from '../../../server/src/dashboard/model/book.js'
