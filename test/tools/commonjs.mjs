/**
 * Makes the CommonJS form of the packages, for `require()`, jest and compilers without ES modules.
 * It writes an `x.cjs` and an `x.d.cts` beside each `x.js` and `x.d.ts` that an entry of a package
 * loads. Each module becomes one file, so that all entries of a package share their modules. Every
 * build runs this program with the folders of the packages: `node test/tools/commonjs.mjs shared
 * client`.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import { dirname, join, relative } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { licencesOf, optionalPackages } from './libraries.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Packages whose declarations are only for ES modules. This program copies these declarations. */
const packagesToCopy = new Set(['superstruct'])

/** Makes the CommonJS files of a package. */
async function makeCommonJs(folder) {
  const { exports, imports = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const targets = [exports, imports].flatMap(targetsOf)
  const withEnding = (ending) =>
    targets.filter((target) => target.endsWith(ending) && !target.startsWith('./dist/bundle/'))
  await writeModules(folder, withEnding('.cjs'))
  writeDeclarations(folder, withEnding('.d.cts'))
}

/** The files that the conditions of `exports` or `imports` lead to. */
function targetsOf(value) {
  return typeof value === 'string' ? [value] : Object.values(value).flatMap(targetsOf)
}

async function writeModules(folder, targets) {
  const common = {
    absWorkingDir: folder,
    outdir: 'dist',
    outbase: 'dist',
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    logLevel: 'warning',
  }
  const entryPoints = targets.map((target) => target.replace(/\.cjs$/, '.js'))
  const { metafile } = await build({
    ...common,
    entryPoints,
    format: 'esm',
    packages: 'external',
    external: ['#*'],
    metafile: true,
    write: false,
  })
  const { outputFiles, metafile: commonJs } = await build({
    ...common,
    entryPoints: Object.keys(metafile.inputs),
    metafile: true,
    write: false,
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    // jest supports `import()` only with a flag of Node, so esbuild replaces `import()`.
    supported: { 'dynamic-import': false },
    plugins: [oneFileEach],
  })
  for (const { path, text } of outputFiles) {
    const { inputs } = commonJs.outputs[relative(folder, path)]
    writeIfChanged(path, `${noticeOf(Object.keys(inputs), folder)}${text}`)
  }
}

/**
 * Keeps each import as a `require()` of the imported file or package. A package that exists only as
 * ES modules is copied into the importing file, because jest cannot `require()` an ES module.
 * `import.meta.url` becomes the URL of the CommonJS file, so that a thread starts from the ES
 * module beside that file.
 */
const oneFileEach = {
  name: 'one-file-each',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /.*/ }, ({ kind, path, importer }) => {
      if (kind === 'entry-point') return undefined
      if (optionalPackages.includes(path)) return { path, external: true }
      if (importer.includes('/node_modules/')) return undefined
      if (path.startsWith('.')) return { path: path.replace(/\.js$/, '.cjs'), external: true }
      return isModuleOnly(path, importer) ? undefined : { path, external: true }
    })
    onLoad({ filter: /\/dist\/.*\.js$/ }, ({ path }) => {
      if (path.includes('/node_modules/')) return undefined
      const url = `require('node:url').pathToFileURL(__filename).href`
      return { contents: readFileSync(path, 'utf8').replaceAll('import.meta.url', url) }
    })
  },
}

/** Whether `require()` of a package leads to an ES module. */
function isModuleOnly(specifier, importer) {
  if (/^(#|@holdfast\/)/.test(specifier) || isBuiltin(specifier)) return false
  const file = createRequire(importer).resolve(specifier)
  if (/\.[cm]js$/.test(file)) return file.endsWith('.mjs')
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json')
    if (existsSync(manifest)) return JSON.parse(readFileSync(manifest, 'utf8')).type === 'module'
  }
}

/** Writes the compiler's declarations with imports that name the CommonJS files. */
function writeDeclarations(folder, targets) {
  const next = targets.map((target) => join(folder, target.replace(/\.d\.cts$/, '.d.ts')))
  const seen = new Set()
  for (let path = next.pop(); path !== undefined; path = next.pop()) {
    if (seen.has(path)) continue
    seen.add(path)
    const target = commonJsPathOf(path, folder)
    const text = readFileSync(path, 'utf8').replace(
      /(\bfrom |\bimport\(|^import )(['"])([^'"]+)\2/gm,
      (all, before, quote, specifier) => {
        const source = declarationOf(specifier, path)
        if (source === undefined) return all
        next.push(source)
        const to = relative(dirname(target), commonJsPathOf(source, folder)).replace(
          '.d.cts',
          '.cjs',
        )
        return `${before}${quote}${to.startsWith('.') ? to : `./${to}`}${quote}`
      },
    )
    writeIfChanged(target, `${noticeOf([path], folder)}${text}`)
  }
}

/** The file with the declarations of an import; undefined if the import stays unchanged. */
function declarationOf(specifier, importer) {
  if (specifier.startsWith('.')) return join(importer, '..', specifier.replace(/\.js$/, '.d.ts'))
  return packagesToCopy.has(specifier)
    ? join(root, 'node_modules', specifier, 'dist/index.d.ts')
    : undefined
}

/**
 * The path for the CommonJS form of a declaration file: beside the original, or for a copied
 * package in a folder with the name of the package.
 */
function commonJsPathOf(path, folder) {
  const [, name, rest] = /node_modules\/([^/]+)\/dist\/(.+)$/.exec(path) ?? []
  const place = name === undefined ? path : join(folder, 'dist', name, rest)
  return place.replace(/\.d\.ts$/, '.d.cts')
}

function noticeOf(inputs, folder) {
  const licences = licencesOf(inputs, folder)
  return licences === '' ? '' : `/*! Contains:\n\n${licences}\n*/\n`
}

/** Writes a file only if its content differs, so that its time stays the same otherwise. */
function writeIfChanged(path, text) {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

for (const name of process.argv.slice(2)) await makeCommonJs(join(root, name))
