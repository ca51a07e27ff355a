/** Bundles a compiled script with React for a page. */
import { build } from 'esbuild'
import { root } from '../conventions/repository.js'

/**
 * Returns the text of the bundle. It has the development build of React, whose strict mode mounts
 * each component twice, and which reports wrong hydration on the console.
 *
 * @param script The path of the script in `test/dist`.
 */
export async function bundleWithReact(script: string): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [`test/dist/${script}`],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
    define: { 'process.env.NODE_ENV': '"development"' },
  })
  return outputFiles[0]!.text
}
