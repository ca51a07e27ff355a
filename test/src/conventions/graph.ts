/** How the source files of a package hang together: what nothing leads to, what runs in circles. */
import type { SourceFile } from './repository.js'
import { syntaxOf } from './syntax.js'
import { type Breach, type Rule, targetOf } from './walls.js'

/** Every file is reached from an entry of its package; what is not is dead. */
export function reached(entries: readonly string[]): Rule {
  return (files) => {
    const edges = edgesOf(files, true)
    const seen = new Set<string>()
    const next = [...entries]
    for (let path = next.pop(); path !== undefined; path = next.pop()) {
      if (seen.has(path)) continue
      seen.add(path)
      next.push(...(edges.get(path) ?? []))
    }
    return files
      .filter(({ path }) => !seen.has(path))
      .map(({ path }): Breach => `${path}: nothing leads here`)
  }
}

/** No file needs itself at run time, over any number of others. Types may. */
export const noCircles: Rule = (files) => {
  const edges = edgesOf(files, false)
  const done = new Set<string>()
  const breaches: Breach[] = []
  const visit = (path: string, trail: readonly string[]): void => {
    const from = trail.indexOf(path)
    if (from >= 0) breaches.push(`${[...trail.slice(from), path].join(' -> ')}: a circle`)
    if (from >= 0 || done.has(path)) return
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path])
    done.add(path)
  }
  for (const { path } of files) visit(path, [])
  return breaches
}

function edgesOf(files: readonly SourceFile[], withTypes: boolean): Map<string, string[]> {
  const paths = new Set(files.map(({ path }) => path))
  return new Map(
    files.map((file) => [
      file.path,
      syntaxOf(file)
        .imports.filter(({ typeOnly }) => withTypes || !typeOnly)
        .map((found) => targetOf(file, found))
        .filter((target) => target !== undefined)
        .map((target) => (paths.has(`${target}x`) ? `${target}x` : target)),
    ]),
  )
}
