/**
 * Makes a second build of the server, so that a test can run two builds in one cluster. The build
 * is a copy of the built package with another version and one more feature. A real earlier version
 * cannot be built, because a shallow clone of the repository does not have the earlier commits.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of the package, above the folder `dist` of the resolved file. */
const serverFolder = fileURLToPath(new URL('..', import.meta.resolve('@holdfast/server')))
/** The `node_modules` at the root of the repository. */
const packagesFolder = fileURLToPath(
  new URL('../../node_modules', import.meta.resolve('@holdfast/server')),
)

export interface OtherBuild {
  /** The file that starts the command `holdfast` of this build. */
  readonly main: string
  readonly version: string
  /** The feature that only this build has. */
  readonly feature: string
}

/** @param folder An empty folder for the build. */
export function makeOtherBuild(folder: string): OtherBuild {
  const version = '99.0.0'
  const feature = 'otherBuild'
  const copy = join(folder, 'server')
  mkdirSync(copy, { recursive: true })
  cpSync(join(serverFolder, 'dist'), join(copy, 'dist'), { recursive: true })
  symlinkSync(packagesFolder, join(folder, 'node_modules'))
  // The server has its own packages if it needs other versions than the root of the repository.
  const ownPackages = join(serverFolder, 'node_modules')
  if (existsSync(ownPackages)) symlinkSync(ownPackages, join(copy, 'node_modules'))
  const manifest = JSON.parse(readFileSync(join(serverFolder, 'package.json'), 'utf8')) as object
  writeFileSync(join(copy, 'package.json'), JSON.stringify({ ...manifest, version }))
  const featuresFile = join(copy, 'dist/protocol/features.js')
  const changedText = readFileSync(featuresFile, 'utf8')
    .replace(/(brokerVersion = )'[^']+'/, `$1'${version}'`)
    .replace('brokerFeatures = [', `brokerFeatures = ['${feature}', `)
  if (!changedText.includes(`'${version}'`) || !changedText.includes(`['${feature}', `)) {
    throw new Error(`${featuresFile} has another form: adapt makeOtherBuild()`)
  }
  writeFileSync(featuresFile, changedText)
  return { main: join(copy, 'dist/cli/main.js'), version, feature }
}
