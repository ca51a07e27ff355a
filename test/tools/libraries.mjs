/**
 * What there is to know of the libraries that a bundle contains: their licences, since those of
 * most demand that their text goes with every copy, and the parts that they do without.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** Packages that libraries use where they are installed. They are no part of any bundle. */
export const optionalPackages = ['bufferutil', 'utf-8-validate', 'supports-color', 'kerberos']

/**
 * Names, versions and licences of the libraries among the inputs of a bundle; '' if there are none.
 *
 * @param folder What the paths of the inputs are relative to.
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

/** The text of the licence; some packages have only its name. */
function licenceIn(folder, { license, author }) {
  const file = readdirSync(folder).find((name) => /^licen[cs]e(\.\w+)?$/i.test(name))
  if (file !== undefined) return readFileSync(join(folder, file), 'utf8').trim()
  if (license === undefined) throw new Error(`${folder} has no licence to ship`)
  return `Licence: ${license}. Author: ${author?.name ?? author ?? 'not named'}`
}
