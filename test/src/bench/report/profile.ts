/**
 * Shows in which functions the broker spends its time. Lists the functions with the largest self
 * time in a CPU profile. A self time excludes the time in called functions.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { markdownTable } from 'markdown-table'

/** The fields of a CPU profile that this file reads. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string }
  }[]
  /** For each sample, the id of the node that ran. */
  readonly samples: readonly number[]
  /** For each sample, the time since the previous sample, in µs. */
  readonly timeDeltas: readonly number[]
}

const maxShownFunctions = 25

/** The profiles in a folder as Markdown tables, one table for each file. */
export async function profileTables(folder: string): Promise<string> {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.cpuprofile')).sort()
  const tables = files.map(async (file) => {
    const profile = JSON.parse(await readFile(join(folder, file), 'utf8')) as CpuProfile
    return `### ${file}\n\n${topFunctionsTable(profile)}\n`
  })
  return (await Promise.all(tables)).join('\n')
}

/** A table of the functions with the largest shares of the time that the broker was not idle. */
function topFunctionsTable({ nodes, samples, timeDeltas }: CpuProfile): string {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const times = new Map<string, number>()
  let busy = 0
  for (const [i, id] of samples.entries()) {
    const name = names.get(id) ?? '(unknown)'
    const time = timeDeltas[i] ?? 0
    // V8 gives this name to the time without work.
    if (name === '(idle)') continue
    busy += time
    times.set(name, (times.get(name) ?? 0) + time)
  }
  const top = [...times].sort(([, a], [, b]) => b - a).slice(0, maxShownFunctions)
  const body = top.map(([name, time]) => [name, `${((time / busy) * 100).toFixed(1)} %`])
  return markdownTable([['function', 'share'], ...body], { align: ['l', 'r'] })
}

/** The name of a function and its file. */
function nameOf({ functionName, url }: { functionName: string; url: string }): string {
  const name = functionName === '' ? '(anonymous)' : functionName
  // Leaves out the folders before `node_modules` or before a package of this repository.
  const file = url.replace(/^.*\/(node_modules|server|shared)\//, '$1/')
  return file === '' ? name : `${name} (${file})`
}
