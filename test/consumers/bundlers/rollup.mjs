/** Bundles the programs for Node with rollup into the folder that is given. */
import { join } from 'node:path'
import process from 'node:process'
import commonjs from '@rollup/plugin-commonjs'
import nodeResolve from '@rollup/plugin-node-resolve'
import { rollup } from 'rollup'

const out = process.argv[2]
const forNode = { exportConditions: ['node'] }
const settings = {
  // The plugins' defaults: neither the condition of Node nor that of browsers.
  'import-esm.mjs': ['programs/lock.mjs', [nodeResolve()], 'es'],
  'import-node.mjs': ['programs/lock.mjs', [nodeResolve(forNode), commonjs()], 'es'],
  'import-cjs.cjs': ['programs/lock.mjs', [nodeResolve(), commonjs()], 'cjs'],
  'require-esm.mjs': ['programs/lock.cjs', [nodeResolve(), commonjs()], 'es'],
}
for (const [ending, [input, plugins, format]] of Object.entries(settings)) {
  const onwarn = ({ message }) => {
    throw new Error(message)
  }
  const bundle = await rollup({ input, plugins, onwarn })
  await bundle.write({ file: join(out, `rollup-${ending}`), format })
  await bundle.close()
}
