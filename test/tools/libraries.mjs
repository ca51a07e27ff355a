/**
 * What the build knows of the libraries in a bundle: their licences, because most licences must go
 * with every copy, and the optional parts that the bundle leaves out.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** Packages that libraries use if they are installed. No bundle contains them. */
export const optionalPackages = ['bufferutil', 'utf-8-validate', 'supports-color', 'kerberos']

/**
 * Names, versions and licences of the libraries among the inputs of a bundle; '' if there are none.
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

/** The text of the licence; some packages have only its name. */
function licenceIn(folder, { license, author }) {
  const file = readdirSync(folder).find((name) => /^licen[cs]e(\.\w+)?$/i.test(name))
  if (file !== undefined) return readFileSync(join(folder, file), 'utf8').trim()
  if (license === undefined) throw new Error(`${folder} has no licence to ship`)
  return `Licence: ${license}. Author: ${author?.name ?? author ?? 'not named'}`
}
