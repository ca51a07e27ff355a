/**
 * The files that tests start as processes. In a quick run of all tests, `npm test` bundles the
 * programs that start most often: see `test/tools/programs.mjs`.
 */
import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** The bundle of a built program if this run has one, otherwise the program itself. */
export function startableFile(program: string): string {
  const bundles = process.env['HOLDFAST_BUNDLES']
  if (bundles === undefined) return program
  const bundle = join(bundles, relative(root, program))
  return existsSync(bundle) ? bundle : program
}

/** The file that starts the command `holdfast`. */
export const commandFile: string = startableFile(
  fileURLToPath(new URL('./cli/main.js', import.meta.resolve('@holdfast/server'))),
)
