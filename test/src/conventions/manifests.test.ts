/** What the package.json files and the lock file have to agree on. */
import { assert } from 'chai'
import { type Manifest, manifest, packages, read, type Target } from './repository.js'

interface Locked extends Manifest {
  readonly link?: boolean
  readonly resolved?: string
}

/** The packages of a lock file, by their path. */
function locked(file: string): Readonly<Record<string, Locked>> {
  return JSON.parse(read(file).text).packages
}

const lockFiles = ['package-lock.json', 'test/consumers/package-lock.json']

describe('the manifests', () => {
  it('have one version, and ask for one another in just that', () => {
    const { version } = manifest('shared')
    assert.match(version ?? '', /^\d+\.\d+\.\d+$/)
    for (const folder of [...packages, 'test']) {
      const { name, version: own, dependencies = {} } = manifest(folder)
      assert.equal(own, version, name)
      for (const [dependency, wanted] of Object.entries(dependencies)) {
        if (dependency.startsWith('@holdfast/')) assert.equal(wanted, version, dependency)
      }
    }
  })

  it('have their version in the changelog', () => {
    assert.include(read('CHANGELOG.md').text, `\n## ${manifest('shared').version}`)
  })

  it('agree on the licence and on the Node they need', () => {
    const { engines, license } = manifest('')
    for (const folder of packages) {
      assert.deepEqual(manifest(folder).engines, engines, folder)
      assert.equal(manifest(folder).license, license, folder)
    }
  })

  it('name types first under each condition, or TypeScript does not look', () => {
    for (const folder of packages) {
      for (const [name, target] of Object.entries(manifest(folder).exports ?? {})) {
        for (const files of conditionsOf(target)) {
          assert.equal(Object.keys(files)[0], 'types', `${folder} ${name}`)
        }
      }
    }
  })

  it('have types for each form: .d.cts for require(), .d.ts for import', () => {
    for (const folder of packages) {
      for (const [name, target] of Object.entries(manifest(folder).exports ?? {})) {
        for (const { types, default: file } of conditionsOf(target)) {
          const module = /\.(c?)js$/.exec(String(file))
          assert.match(String(types), new RegExp(`\\.d\\.${module?.[1]}ts$`), `${folder} ${name}`)
        }
      }
    }
  })

  it('lead tools that do not read exports to the CommonJS form', () => {
    for (const folder of packages) {
      const { main, types, typesVersions, exports = {} } = manifest(folder)
      assert.deepInclude(exports['.'] as object, { require: { types, default: main } })
      const entries = Object.keys(exports).filter((name) => !['.', './package.json'].includes(name))
      assert.sameMembers(
        Object.keys(typesVersions?.['*'] ?? {}),
        entries.map((name) => name.replace('./', '')),
      )
    }
  })

  for (const file of lockFiles) {
    it(`can be installed on every platform: ${file} has the packages of each`, () => {
      const packages = locked(file)
      for (const [path, { optionalDependencies = {} }] of Object.entries(packages)) {
        for (const name of Object.keys(optionalDependencies)) {
          const places = [`node_modules/${name}`, `${path}/node_modules/${name}`]
          assert.isTrue(
            places.some((place) => packages[place] !== undefined),
            `${name}, wanted by ${path}`,
          )
        }
      }
    })

    it(`can be installed from any registry: ${file} names none`, () => {
      for (const [path, { link, resolved }] of Object.entries(locked(file))) {
        if (!link) assert.isUndefined(resolved, path)
      }
    })
  }
})

/** The innermost conditions of an entry, which name a file and its types. */
function conditionsOf(target: Target): { readonly [condition: string]: Target }[] {
  if (typeof target === 'string') return []
  const inner = Object.values(target).flatMap(conditionsOf)
  return inner.length > 0 ? inner : [target]
}
