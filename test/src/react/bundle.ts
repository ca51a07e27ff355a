/**
 * Bundles a compiled script together with React, for a page of a browser. Node also loads such a
 * bundle, to render with an older version of React.
 */
import { build as runEsbuild } from 'esbuild'
import { root } from '../conventions/repository.js'

/** The versions of React that the tests use: the oldest that the hooks support, and the newest. */
export const reactVersions = ['18', '19'] as const

export type ReactVersion = (typeof reactVersions)[number]

/**
 * The names under which `node_modules` has the packages of an older React. The newest React has
 * the usual names.
 */
const packageAliases: Readonly<Record<ReactVersion, Readonly<Record<string, string>>>> = {
  18: { react: 'react18', 'react-dom': 'react-dom18' },
  19: {},
}

/**
 * Returns the text of the bundle.
 *
 * @param script The path of the script in `test/dist`.
 * @param build The build of React. Only in the development build, strict mode mounts each component
 *   twice, and the console shows each failure of hydration.
 */
export async function bundleWithReact(
  script: string,
  build: 'development' | 'production',
  version: ReactVersion = '19',
): Promise<string> {
  const { outputFiles } = await runEsbuild({
    absWorkingDir: root,
    entryPoints: [`test/dist/${script}`],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    minify: build === 'production',
    write: false,
    alias: packageAliases[version],
    define: { 'process.env.NODE_ENV': JSON.stringify(build) },
  })
  return outputFiles[0]!.text
}

/** Loads `onServer.tsx`, which renders as a server does, with this version of React. */
export async function loadServerRenderer(
  version: ReactVersion,
): Promise<typeof import('./onServer.js')> {
  if (version === '19') return import('./onServer.js')
  // Node would resolve `react` to the newest version, so the bundle contains the older React.
  const text = await bundleWithReact('react/onServer.js', 'development', version)
  return import(`data:text/javascript,${encodeURIComponent(text)}`)
}
