/** Bundles the programs for Node with webpack into the folder that is given. */
import process from 'node:process'
import webpack from 'webpack'

const path = process.argv[2]
// The optional native parts of `ws` as empty modules, as the builds of Next.js have them.
const stubs = { alias: { bufferutil: false, 'utf-8-validate': false } }
const settings = {
  'import-node20.cjs': { target: 'node20' },
  'import-stubbed.cjs': { target: 'node', resolve: stubs },
  'import-development.cjs': { target: 'node', mode: 'development' },
  'require-stubbed.cjs': { target: 'node', resolve: stubs, entry: './programs/lock.cjs' },
  'import-module.mjs': {
    target: 'node20',
    experiments: { outputModule: true },
    output: { module: true, library: { type: 'module' } },
  },
}

function bundle(config) {
  return new Promise((resolve, reject) => {
    webpack(config, (error, stats) => {
      if (error) reject(error)
      else if (stats.hasErrors() || stats.hasWarnings()) reject(new Error(stats.toString()))
      else resolve()
    })
  })
}

for (const [ending, { output, ...options }] of Object.entries(settings)) {
  const files = { path, filename: `webpack-${ending}`, ...output }
  await bundle({ mode: 'production', entry: './programs/lock.mjs', output: files, ...options })
}
