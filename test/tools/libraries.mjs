/**
 * The libraries in the bundles of a build: their licences, because most licences must accompany
 * each copy, and the optional packages, which no bundle contains.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** Packages that libraries use if they are installed. No bundle contains them. */
export const optionalPackages = ['bufferutil', 'utf-8-validate', 'supports-color', 'kerberos']

/**
 * The names, versions and licences of the libraries among the inputs of a bundle; '' without
 * libraries.
 *
 * @param folder The folder to which the paths of the inputs are relative.
 */
export function licencesOf(inputs, folder) {
  const packages = new Set(
    inputs
      .map((path) => /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(resolve(folder, path))?.[1])
      .filter(Boolean),
  )
  return [...packages]
    .sort()
    .map((path) => {
      const manifest = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'))
      return `${manifest.name} ${manifest.version}\n\n${licenceIn(path, manifest)}`
    })
    .join(`\n${'-'.repeat(80)}\n\n`)
}

/** The text of a package's licence, or its name if the package has no text. */
function licenceIn(folder, { license, author }) {
  const file = readdirSync(folder).find((name) => /^licen[cs]e(\.\w+)?$/i.test(name))
  if (file !== undefined) return readFileSync(join(folder, file), 'utf8').trim()
  if (license === undefined) throw new Error(`The package ${folder} has no licence: remove it`)
  return `Licence: ${license}. Author: ${author?.name ?? author ?? 'not named'}`
}
