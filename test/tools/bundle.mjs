/**
 * Makes the one file of the client that a page can load as it is, and prints its size. Run after
 * the compiler by whatever builds the client: `npm run bundle`, which does nothing else, or more.
 *
 * esbuild joins the modules and shortens the names of variables and private members; terser writes
 * the same in fewer bytes. Neither renames a property, because a renamed property that something
 * outside of the file reads breaks without an error.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { minify } from 'terser'

const root = fileURLToPath(new URL('../../', import.meta.url))
const outfile = join(root, 'client/dist/bundle/holdfast.js')
const { name, version } = JSON.parse(readFileSync(join(root, 'client/package.json'), 'utf8'))

const { outputFiles } = await build({
  entryPoints: [join(root, 'client/dist/index.js')],
  bundle: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  minify: true,
  write: false,
  logLevel: 'warning',
})
const { code } = await minify(outputFiles[0].text, {
  module: true,
  ecma: 2020,
  compress: {
    passes: 3,
    keep_fargs: false,
    unsafe_arrows: true,
    // These two make it smaller, but not once it is compressed.
    inline: 1,
    lhs_constants: false,
  },
})
const text = `/*! ${name} ${version}, MIT licence */\n${code}\n`
mkdirSync(dirname(outfile), { recursive: true })
writeFileSync(outfile, text)
const sizes = `${Buffer.byteLength(text)} bytes, ${gzipSync(text, { level: 9 }).length} gzipped`
process.stderr.write(`holdfast: ${relative(root, outfile)}: ${sizes}\n`)
