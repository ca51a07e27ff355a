/** The package.json files of all packages and the lock files of npm must agree with each other. */
import { assert } from 'chai'
import { type Manifest, manifest, packages, read, type Target } from './repository.js'

interface LockedPackage extends Manifest {
  readonly link?: boolean
  readonly resolved?: string
}

/** The packages of a lock file, by their paths. */
function lockedPackages(file: string): Readonly<Record<string, LockedPackage>> {
  return JSON.parse(read(file).text).packages
}

const lockFiles = ['package-lock.json', 'test/consumers/package-lock.json']

describe('the manifests', () => {
  it('have the same version, and depend on each other in exactly this version', () => {
    const { version } = manifest('shared')
    assert.match(version ?? '', /^\d+\.\d+\.\d+$/)
    for (const folder of [...packages, 'test']) {
      const { name, version: ownVersion, dependencies = {} } = manifest(folder)
      assert.equal(ownVersion, version, name)
      for (const [dependency, range] of Object.entries(dependencies)) {
        if (dependency.startsWith('@holdfast/')) assert.equal(range, version, dependency)
      }
    }
  })

  it('have a version that CHANGELOG.md describes', () => {
    assert.include(read('CHANGELOG.md').text, `\n## ${manifest('shared').version}`)
  })

  it('have the same licence and require the same version of Node', () => {
    const { engines, license } = manifest('')
    for (const folder of packages) {
      assert.deepEqual(manifest(folder).engines, engines, folder)
      assert.equal(manifest(folder).license, license, folder)
    }
  })

  it('list `types` first under each condition of `exports`, because TypeScript ignores later `types`', () => {
    for (const folder of packages) {
      for (const [name, target] of Object.entries(manifest(folder).exports ?? {})) {
        for (const files of typedFilesOf(target)) {
          assert.equal(Object.keys(files)[0], 'types', `${folder} ${name}`)
        }
      }
    }
  })

  it('have types for each module format: .d.cts for require(), .d.ts for import', () => {
    for (const folder of packages) {
      for (const [name, target] of Object.entries(manifest(folder).exports ?? {})) {
        for (const { types, default: file } of typedFilesOf(target)) {
          // The `c` of `.cjs`, or an empty string.
          const [, letter] = /\.(c?)js$/.exec(String(file)) ?? []
          assert.match(String(types), new RegExp(`\\.d\\.${letter}ts$`), `${folder} ${name}`)
        }
      }
    }
  })

  it('name the CommonJS files for tools that ignore `exports`', () => {
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
    it(`have all optional dependencies in ${file}, so that npm installs them everywhere`, () => {
      const locked = lockedPackages(file)
      for (const [path, { optionalDependencies = {} }] of Object.entries(locked)) {
        for (const name of Object.keys(optionalDependencies)) {
          const candidates = [`node_modules/${name}`, `${path}/node_modules/${name}`]
          assert.isTrue(
            candidates.some((candidate) => locked[candidate] !== undefined),
            `${name}, required by ${path}`,
          )
        }
      }
    })

    it(`have no URL of a registry in ${file}, so that any registry can provide the packages`, () => {
      for (const [path, { link, resolved }] of Object.entries(lockedPackages(file))) {
        // A link leads to a folder of this repository.
        if (!link) assert.isUndefined(resolved, path)
      }
    })
  }
})

/** The innermost objects of a target in `exports`. Each object has a file and its types. */
function typedFilesOf(target: Target): { readonly [condition: string]: Target }[] {
  if (typeof target === 'string') return []
  const inner = Object.values(target).flatMap(typedFilesOf)
  return inner.length > 0 ? inner : [target]
}
