/**
 * Makes the files of the client that need a bundler, and prints the size of the first. Run after
 * the compiler by every build of the client, and by `npm run bundle`.
 *
 * - `holdfast.js` and `.cjs`: the whole client in one file, for a page without a bundler.
 *   `holdfast-cells.js` and `.cjs`: the client for several cells, with the same code. esbuild
 *   joins the modules and shortens the names of variables and private members; terser writes the
 *   same in fewer bytes. Neither renames a property, because a renamed property that something
 *   outside of the file reads breaks without an error.
 * - `eventemitter3.js`: the event emitter as an ES module, for the ES modules of the client. The
 *   package exports only a CommonJS file, which some bundlers cannot read without a plugin.
 * - `websocket.js` and `.cjs`: the WebSocket for bundles, which other bundlers put into their own
 *   output. Bundlers break `ws`: an ES module has no `require` for the modules of Node, and a stub
 *   in place of the optional `bufferutil` makes every `send` throw. This copy asks Node for its
 *   modules when it runs, and has no optional parts. It chooses between `ws` and the WebSocket of a
 *   browser when it runs, because a bundler may not have been told where its output will run.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { basename, dirname, extname, join, relative } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build, transform } from 'esbuild'
import { minify } from 'terser'
import { licencesOf, optionalPackages } from './libraries.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const built = join(root, 'client/dist')
/** Keeps the results of terser for the next build. npm removes the folder with `node_modules`. */
const cache = join(root, 'node_modules/.cache/holdfast')

/** Bundles the client from this entry into one file. */
async function bundleClient(entry, outfile) {
  // Stands beside the bundle, so that pages need not load it.
  const licenceFile = basename(outfile).replace(/js$/, 'licences.txt')
  const { name, version } = manifestIn(join(root, 'client'))
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    metafile: true,
    entryPoints: [join(built, entry)],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    minify: true,
    write: false,
    logLevel: 'warning',
    plugins: [eventEmitterModule],
  })
  const code = await shorten(outputFiles[0].text, basename(outfile))
  const text = `/*! ${name} ${version}, MIT licence; for libraries see ${licenceFile} */\n${code}\n`
  const licences = licencesOf(Object.keys(metafile.inputs), root)
  write(
    join(dirname(outfile), licenceFile),
    `Licences of the libraries in ${basename(outfile)}:\n\n${licences}\n`,
  )
  write(outfile, text)
  const { code: commonJs } = await transform(text, {
    format: 'cjs',
    target: 'es2022',
    minify: true,
  })
  write(outfile.replace(/js$/, 'cjs'), commonJs)
  const sizes = `${Buffer.byteLength(text)} bytes, ${gzipSync(text, { level: 9 }).length} gzipped`
  process.stderr.write(`holdfast: ${relative(root, outfile)}: ${sizes}\n`)
}

const terserOptions = {
  module: true,
  ecma: 2020,
  compress: {
    passes: 5,
    keep_fargs: false,
    unsafe_arrows: true,
    hoist_funs: true,
    // The default values of these two options make the file smaller, but not the compressed file.
    inline: 1,
    lhs_constants: false,
  },
}

/**
 * Shortens a script by terser. It takes the result of the last build from the cache if the script,
 * the options and the version of terser are the same, because terser needs most of the time of a
 * build in which nothing has changed.
 *
 * @param name The name of the file in the cache.
 */
async function shorten(script, name) {
  const { version } = manifestIn(join(root, 'node_modules/terser'))
  const input = JSON.stringify([version, terserOptions, script])
  const key = createHash('sha256').update(input).digest('hex')
  const file = join(cache, `${name}.json`)
  const cached = readJson(file)
  if (cached?.key === key && typeof cached.code === 'string') return cached.code
  const { code } = await minify(script, terserOptions)
  // Another build may read or write the file at the same time, and must see it whole.
  const unfinished = `${file}.${process.pid}`
  write(unfinished, JSON.stringify({ key, code }))
  renameSync(unfinished, file)
  return code
}

/** The value in a JSON file; undefined if the file does not exist or is not JSON. */
function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

/** The ES module of the package, which the exports of the package do not name. */
const emitterModule = join(root, 'node_modules/eventemitter3/dist/eventemitter3.esm.js')

/**
 * Bundles the ES module of the package in place of the package and of its copy, because the ES
 * module needs no helpers for CommonJS.
 */
const eventEmitterModule = {
  name: 'event-emitter-module',
  setup({ onResolve }) {
    onResolve({ filter: /^eventemitter3$|\/bundle\/eventemitter3\.js$/ }, () => ({
      path: emitterModule,
    }))
  },
}

/** Copies the ES module, and lets the one compiled file that needs the package import the copy. */
function copyEventEmitter(outfile) {
  const licences = licencesOf([emitterModule], root)
  write(outfile, `/*! Contains:\n\n${licences}\n*/\n${readFileSync(emitterModule, 'utf8')}`)
  const importer = join(built, 'session/sessionEvents.js')
  const text = readFileSync(importer, 'utf8')
  write(importer, text.replace("from 'eventemitter3'", "from '../bundle/eventemitter3.js'"))
}

/** Bundles `ws` as one file in this module format. */
async function bundleWebSocket(format, outfile) {
  // Both files export the same names; the file for Node is loaded only in Node.
  const names = Object.keys(await import(join(built, 'platform/webSocket/browser.js'))).join(', ')
  const contents = `
    import * as own from './browser.js'
    const isNode = typeof globalThis.process?.getBuiltinModule === 'function'
    export const { ${names} } = isNode ? require('./node.js') : own`
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    metafile: true,
    stdin: { contents, resolveDir: join(built, 'platform/webSocket') },
    bundle: true,
    format,
    platform: 'neutral',
    conditions: ['node'],
    mainFields: ['main'],
    target: 'es2022',
    minify: true,
    write: false,
    logLevel: 'warning',
    plugins: [ownModules(extname(outfile)), askedOfNode],
  })
  const licences = licencesOf(Object.keys(metafile.inputs), root)
  write(outfile, `/*! Contains:\n\n${licences}\n*/\n${outputFiles[0].text}`)
}

/** Keeps the other modules of the package outside, so that their classes exist once. */
function ownModules(extension) {
  const folder = join(built, 'platform/webSocket')
  const inside = ['./browser.js', './node.js', './nodeFrames.js']
  return {
    name: 'own-modules',
    setup({ onResolve }) {
      onResolve({ filter: /^(\.|@holdfast\/)/ }, ({ path, resolveDir }) => {
        if (path.startsWith('@holdfast/')) return { path, external: true }
        if (resolveDir !== folder || inside.includes(path)) return undefined
        // A bundler that was not told about Node cannot resolve the modules of Node.
        if (/ from 'node:/.test(readFileSync(join(folder, path), 'utf8')))
          throw new Error(`${path} imports a module of Node: add it to the files inside`)
        const target = relative(join(built, 'bundle'), join(folder, path)).replaceAll('\\', '/')
        return { path: target.replace(/\.js$/, extension), external: true }
      })
    },
  }
}

/**
 * Loads the modules of Node by `getBuiltinModule` when the bundle runs, and lets the import of an
 * optional package fail.
 */
const askedOfNode = {
  name: 'asked-of-node',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^[a-z0-9_:/-]+$/ }, ({ path }) => {
      if (isBuiltin(path)) return { path: path.replace(/^node:/, ''), namespace: 'of-node' }
      return optionalPackages.includes(path) ? { path, namespace: 'optional' } : undefined
    })
    // The optional packages fail to load even if they are installed, because a bundler may replace
    // them by a stub. Parts of `ws` that the client does not use, such as its server, are left out.
    onResolve({ filter: /^\.\/lib\// }, ({ path, importer }) =>
      basename(importer) === 'wrapper.mjs'
        ? { path: join(dirname(importer), path), sideEffects: false }
        : undefined,
    )
    onLoad({ filter: /.*/, namespace: 'of-node' }, ({ path }) => ({
      contents: `module.exports = globalThis.process.getBuiltinModule('node:${path}')`,
    }))
    onLoad({ filter: /.*/, namespace: 'optional' }, ({ path }) => ({
      contents: `throw new Error('${path} is left out')`,
    }))
  },
}

function manifestIn(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
}

function write(file, text) {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}

copyEventEmitter(join(built, 'bundle/eventemitter3.js'))
await bundleClient('index.js', join(built, 'bundle/holdfast.js'))
await bundleClient('cells.js', join(built, 'bundle/holdfast-cells.js'))
await bundleWebSocket('esm', join(built, 'bundle/websocket.js'))
await bundleWebSocket('cjs', join(built, 'bundle/websocket.cjs'))
