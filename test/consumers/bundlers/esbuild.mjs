/** Bundles the programs for Node with esbuild into the folder that is given. */
import { join } from 'node:path'
import process from 'node:process'
import { build } from 'esbuild'

const out = process.argv[2]
const entries = { import: 'programs/lock.mjs', require: 'programs/lock.cjs' }
const settings = {
  'esm.mjs': { format: 'esm', platform: 'node' },
  'cjs.cjs': { format: 'cjs', platform: 'node' },
  // Neither told that it is for Node nor that it is for a browser.
  'neutral.mjs': { format: 'esm', platform: 'neutral' },
}
for (const [name, entry] of Object.entries(entries)) {
  for (const [ending, options] of Object.entries(settings)) {
    const outfile = join(out, `esbuild-${name}-${ending}`)
    await build({ ...options, entryPoints: [entry], bundle: true, outfile, logLevel: 'warning' })
  }
}
