/** Saves the results of the bench: the figures as JSON, and the chart as SVG. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Row } from '../job.js'
import type { Machine } from './machine.js'
import type { TargetResult } from './targets.js'

export const resultsFolder: string = fileURLToPath(
  new URL('../../../bench/results/', import.meta.url),
)

export interface Results {
  /** When the bench began, as an ISO time. */
  readonly began: string
  /** How long the bench took. */
  readonly seconds: number
  /** The command line that started the bench. */
  readonly command: string
  readonly machine: Machine
  /** The versions of the compared programs (the peers) and their packages. */
  readonly versions: readonly string[]
  /** The number of runs of each job. The figures are medians over the runs. */
  readonly runs: number
  /** The name of the pace, which defines the length of each run. */
  readonly pace: string
  /** The number of grants that the exclusion check (one holder at most) has seen. */
  readonly grants: number
  /** The number of these grants that the broker should not have made. */
  readonly violations: number
  readonly rows: readonly Row[]
  readonly targetResults: readonly TargetResult[]
}

/** The results as JSON. */
export function asJson(results: Results): string {
  const { targetResults } = results
  const targets = targetResults.map(({ target, measured, measuredWithClient, outcome }) => {
    const { title, level, stretch, better } = target
    const withClient = measuredWithClient
    return { title, target: level, stretch, better, measured, withClient, outcome }
  })
  // `undefined` leaves out `targetResults`; `targets` replaces it.
  return `${JSON.stringify({ ...results, targetResults: undefined, targets }, undefined, 2)}\n`
}

/** Writes files into the folder of the results, and creates the folder if it is missing. */
export async function saveResults(files: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(resultsFolder, { recursive: true })
  for (const [name, text] of Object.entries(files)) await writeFile(join(resultsFolder, name), text)
}
