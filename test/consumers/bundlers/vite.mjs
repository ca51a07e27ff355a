/**
 * Builds the program with Vite into the folder that is given: for a server with everything in it,
 * and for browsers.
 */
import { join } from 'node:path'
import process from 'node:process'
import { build } from 'vite'

const out = process.argv[2]
const common = { configFile: false, logLevel: 'warn' }
const output = (name) => ({ outDir: out, emptyOutDir: false, rollupOptions: name })
await build({
  ...common,
  ssr: { noExternal: true },
  build: {
    ...output({ output: { entryFileNames: 'vite-server.mjs' } }),
    ssr: 'programs/lock.mjs',
  },
})
await build({
  ...common,
  build: {
    outDir: join(out, 'browser'),
    lib: { entry: 'programs/lock.mjs', formats: ['es'], fileName: 'vite' },
  },
})
