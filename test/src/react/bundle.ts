/**
 * Bundles a compiled script together with React, so that a page of a browser can run the script.
 */
import { build as bundle } from 'esbuild'
import { root } from '../conventions/repository.js'

/**
 * Returns the text of the bundle.
 *
 * @param script The path of the script in `test/dist`.
 * @param build The build of React. Strict mode mounts each component twice only in the development
 *   build, which also reports wrong hydration on the console.
 */
export async function bundleWithReact(
  script: string,
  build: 'development' | 'production',
): Promise<string> {
  const { outputFiles } = await bundle({
    absWorkingDir: root,
    entryPoints: [`test/dist/${script}`],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    minify: build === 'production',
    write: false,
    define: { 'process.env.NODE_ENV': JSON.stringify(build) },
  })
  return outputFiles[0]!.text
}
