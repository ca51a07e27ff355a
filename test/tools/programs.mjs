/**
 * Bundles the programs that tests start most often. A program loads 150 to 220 modules, and
 * loading them takes half of the CPU time of its start. A bundle has the code of the same modules
 * in a few files, so a quick run uses bundles. A full run, a hunt for a mutant, and a test file
 * that runs alone use the files that users install.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { root } from './setup.mjs'

/** The programs, by their paths from the root. */
const programs = [
  'server/dist/cli/main.js',
  'test/dist/e2e/programs/client.js',
  'test/dist/faults/programs/contender.js',
  'test/dist/faults/programs/writer.js',
  'test/dist/log/programs/loading.js',
]

/**
 * Packages that a bundle cannot contain: native code, and CommonJS packages whose names the sources
 * import with `import()`.
 */
const externalPackages = ['lmdb', 'pg', 'pino']

/**
 * Bundles the programs into a new folder, at the paths that they have from the root. Tests find the
 * folder in the variable `HOLDFAST_BUNDLES`. The folder is removed when this process exits.
 */
export async function bundlePrograms() {
  // Within `node_modules`, so that the bundles find the packages that they do not contain.
  const cache = join(root, 'node_modules/.cache/holdfast')
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'programs-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  await build({
    absWorkingDir: root,
    entryPoints: programs,
    outdir: folder,
    outbase: root,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    conditions: ['node'],
    external: externalPackages,
    banner: { js: requireForCommonJs },
    plugins: [ownUrls],
    logLevel: 'warning',
  })
  process.env.HOLDFAST_BUNDLES = folder
}

/** Gives the CommonJS packages in a bundle the `require` for modules of Node. */
const requireForCommonJs = `import { createRequire } from 'node:module'
const require = createRequire(import.meta.url)`

/** Keeps the URL of each module, from which modules find threads, programs and package.json. */
const ownUrls = {
  name: 'own-urls',
  setup({ onLoad }) {
    onLoad({ filter: /\/(?:server|client|shared|test)\/dist\/.*\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replaceAll(
        /(?<!')\bimport\.meta\.url\b/g,
        JSON.stringify(pathToFileURL(path).href),
      ),
      resolveDir: dirname(path),
    }))
  },
}
