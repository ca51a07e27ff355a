/**
 * The files of the programs that tests start as processes. In a quick run of all tests, `npm test`
 * bundles the programs that tests start most often: see `test/tools/programs.mjs`.
 */
import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** The bundle of a program if this run has a bundle, otherwise the built file of the program. */
export function bundleOrBuiltFile(builtFile: string): string {
  const bundles = process.env['HOLDFAST_BUNDLES']
  if (bundles === undefined) return builtFile
  const bundle = join(bundles, relative(root, builtFile))
  return existsSync(bundle) ? bundle : builtFile
}

/** The file that starts the command `holdfast`. */
export const holdfastFile: string = bundleOrBuiltFile(
  fileURLToPath(new URL('./cli/main.js', import.meta.resolve('@holdfast/server'))),
)
