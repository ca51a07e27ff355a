/**
 * Makes the one file of the client that a page can load as it is, and prints its size. Run after
 * the compiler by whatever builds the client: `npm run bundle`, which does nothing else, or more.
 */
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('../../', import.meta.url))
const outfile = join(root, 'client/dist/bundle/holdfast.js')
const { name, version } = JSON.parse(readFileSync(join(root, 'client/package.json'), 'utf8'))

await build({
  entryPoints: [join(root, 'client/dist/index.js')],
  outfile,
  bundle: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  minify: true,
  banner: { js: `/*! ${name} ${version}, MIT licence */` },
  logLevel: 'warning',
})
const text = readFileSync(outfile)
const sizes = `${text.length} bytes, ${gzipSync(text, { level: 9 }).length} gzipped`
process.stderr.write(`holdfast: ${relative(root, outfile)}: ${sizes}\n`)
