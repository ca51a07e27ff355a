/**
 * Tests that the Kubernetes files have only fields that Kubernetes knows, with the right types.
 * Kubernetes ignores or refuses misspelt fields. The test compiles each object as a TypeScript
 * literal of its Kubernetes type.
 */
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { assert } from 'chai'
import { root } from '../conventions/repository.js'
import { Stage } from '../e2e/stage.js'
import { makeScratchFolder } from '../ops/scratch.js'
import { readDeployYaml, type Yaml } from './deployFiles.js'

const require = createRequire(import.meta.url)
const types = dirname(require.resolve('kubernetes-types/package.json'))
/** The files whose objects all have a type in `kubernetes-types`. */
const paths = ['brokers', 'journal', 'network-policy'].map((name) => `kubernetes/${name}.yaml`)

/**
 * The module with the types of an API version. For example, the types of `v1` are in `core/v1`, and
 * the types of `networking.k8s.io/v1` are in `networking/v1`.
 */
function moduleOf(apiVersion: string): string {
  const [group = '', version] = apiVersion.includes('/')
    ? apiVersion.split('/')
    : ['core', apiVersion]
  return `${types}/${group.replace(/\..*/, '')}/${version}`
}

describe('the Kubernetes objects', function () {
  this.timeout(60_000)
  const stage = Stage.forEachTest()

  /** The errors that the compiler reports for these objects. */
  function compilerErrorsFor(objects: readonly Yaml[]): string {
    const lines = objects.map((object, i) => {
      const type = `import(${JSON.stringify(moduleOf(object.apiVersion))}).${object.kind}`
      return `export const object${i}: ${type} = ${JSON.stringify(object)}`
    })
    const file = makeScratchFolder(stage).write('objects.ts', `${lines.join('\n')}\n`)
    const compiler = join(root, 'node_modules/typescript/bin/tsc')
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--types', '', '--ignoreConfig']
    const moduleOptions = ['--module', 'preserve', '--moduleResolution', 'bundler']
    const args = [compiler, ...options, ...moduleOptions, file]
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    return stdout + stderr
  }

  it('have only the fields of their kinds', () => {
    const objects = paths.flatMap(readDeployYaml)
    // Fewer objects would mean that the test does not read the files completely.
    assert.isAbove(objects.length, 7)
    assert.equal(compilerErrorsFor(objects), '')
  })

  it('do not compile with a misspelt field', () => {
    const [deployment] = readDeployYaml('kubernetes/brokers.yaml') as [Yaml]
    deployment.spec.template.spec.containers[0].readynessProbe = {}
    assert.match(compilerErrorsFor([deployment]), /readynessProbe/)
  })
})
