/**
 * Installs and loads the npm packages of the peers (other lock services). The packages are in the
 * folder `test/.cache/peers`, so that they are no dependencies of this repository.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { LoadPackage, Peer } from './peer.js'

const folder = fileURLToPath(new URL('../../../.cache/peers/', import.meta.url))

/** Loads a package that {@link installPackages} has installed. */
export const loadPackage: LoadPackage = createRequire(join(folder, 'package.json'))

/**
 * Installs the missing packages of a peer.
 *
 * @returns Why the peer cannot be measured; undefined if the peer can be measured.
 */
export function installPackages({ packages }: Peer): string | undefined {
  const missing = packages.filter((spec) => !isInstalled(spec))
  if (missing.length === 0) return undefined
  mkdirSync(folder, { recursive: true })
  const flags = ['--prefix', folder, '--no-audit', '--no-fund', '--ignore-scripts']
  const { status } = spawnSync('npm', ['install', ...flags, ...missing], { stdio: 'ignore' })
  return status === 0 ? undefined : `npm could not install ${missing.join(' ')}`
}

/** Whether the package of a spec such as `pg@8.23.1` is installed in this version. */
function isInstalled(spec: string): boolean {
  // The last `@` begins the version, because the name of a package may begin with `@` too.
  const at = spec.lastIndexOf('@')
  const file = join(folder, 'node_modules', spec.slice(0, at), 'package.json')
  if (!existsSync(file)) return false
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string }
  return version === spec.slice(at + 1)
}
