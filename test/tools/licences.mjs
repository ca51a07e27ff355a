/**
 * The licences of the libraries that a bundle contains: the licences of most demand that their text
 * goes with every copy.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

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
      const { name, version } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'))
      return `${name} ${version}\n\n${licenceIn(path)}`
    })
    .join(`\n${'-'.repeat(80)}\n\n`)
}

function licenceIn(folder) {
  const file = readdirSync(folder).find((name) => /^licen[cs]e(\.\w+)?$/i.test(name))
  if (file === undefined) throw new Error(`${folder} has no licence to ship`)
  return readFileSync(join(folder, file), 'utf8').trim()
}
