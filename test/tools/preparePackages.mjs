/** Prepares packages for `npm pack`: builds the packages and adds the licence. */
import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { root, setUp } from './setup.mjs'

/**
 * Builds the packages anew with one build, so that no tarball has an old file. Copies the licence
 * into the folder of each package, where npm expects the licence.
 *
 * @param names The folders of the packages, each after the packages that it needs.
 */
export async function preparePackages(names) {
  for (const name of names) rmSync(join(root, name, 'dist'), { recursive: true, force: true })
  await setUp(names.at(-1))
  for (const name of names) copyFileSync(join(root, 'LICENSE'), join(root, name, 'LICENSE'))
}
