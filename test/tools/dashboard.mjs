/**
 * Bundles the dashboard for browsers from its compiled sources, and writes the licences of the
 * bundled libraries. Every build of the server runs this program.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { licencesOf } from './libraries.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const sources = join(root, 'server/src/dashboard')
const built = join(root, 'server/dist/dashboard')
const page = join(built, 'page')

const { outputFiles, metafile } = await build({
  absWorkingDir: root,
  entryPoints: [
    { in: join(built, 'main.js'), out: 'app' },
    { in: join(sources, 'styles/app.css'), out: 'app' },
  ],
  outdir: page,
  bundle: true,
  format: 'iife',
  platform: 'browser',
  target: ['es2022', 'chrome109', 'firefox115', 'safari16.4'],
  minify: true,
  legalComments: 'none',
  metafile: true,
  write: false,
  logLevel: 'warning',
})
mkdirSync(page, { recursive: true })
for (const { path, contents } of outputFiles) writeIfChanged(path, contents)
for (const name of ['index.html', 'icon.svg']) copyFileSync(join(sources, name), join(page, name))
writeIfChanged(
  join(page, 'licences.txt'),
  Buffer.from(licencesOf(Object.keys(metafile.inputs), root)),
)

/** Writes a file if its contents have changed, because a running broker may be reading the file. */
function writeIfChanged(path, contents) {
  if (existsSync(path) && readFileSync(path).equals(contents)) return
  writeFileSync(path, contents)
}
