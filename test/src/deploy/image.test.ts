/**
 * Tests the container image. The machines of these tests have no Docker. Instead, a full run (`npm
 * run test:ci`) runs the steps of the Dockerfile in a clean folder, from a clone of the repository.
 * A quick run only reads the Dockerfile. The tests do not check the base image.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { assert } from 'chai'
import { npmCommand } from '../conventions/npm.js'
import { manifest, root } from '../conventions/repository.js'
import { Stage } from '../e2e/stage.js'
import { isFullRun } from '../support/counts.js'
import { needs, skip } from '../support/needs.js'
import { readDeployFile } from './deployFiles.js'
import { ignoredBy, instructionsOf, runInstructions } from './dockerfile.js'

const instructions = instructionsOf(readDeployFile('Dockerfile'))
const isIgnored = ignoredBy(readDeployFile('Dockerfile.dockerignore'))

/** The values of all instructions of this name. */
function valuesOf(name: string): string[] {
  return instructions.filter((instruction) => instruction.name === name).map(({ value }) => value)
}

describe('the Dockerfile', () => {
  it('runs the command as a user without privileges, and gives this user as a number', () => {
    // Only if the user is a number can Kubernetes tell whether the user is root.
    assert.deepEqual(valuesOf('USER'), ['1000:1000'])
    assert.deepEqual(valuesOf('ENTRYPOINT'), ['["holdfast"]'])
    assert.deepEqual(valuesOf('CMD'), ['["serve"]'])
    // The steps before USER run as root, because they install packages.
    const names = instructions.map(({ name }) => name)
    assert.isAbove(names.indexOf('USER'), names.lastIndexOf('RUN'))
  })

  it('downloads only npm packages and a base image with a supported version of Node', () => {
    assert.notMatch(valuesOf('RUN').join('\n'), /\b(apt|apt-get|curl|wget|git|npx)\b/)
    // The instruction ADD can download files.
    assert.deepEqual(valuesOf('ADD'), [])
    const [, version] = /^NODE_VERSION=(\d+)$/.exec(valuesOf('ARG')[0] ?? '') ?? []
    const [, minVersion] = /(\d+)/.exec(manifest('').engines?.['node'] ?? '') ?? []
    assert.isAtLeast(Number(version), Number(minVersion))
    for (const base of valuesOf('FROM')) {
      assert.match(base, /^node:\$\{NODE_VERSION\}-bookworm-slim( AS build)?$/)
    }
  })

  it('copies no built files and no secrets from the clone', () => {
    for (const path of ['.git', 'node_modules', 'server/dist', 'test/node_modules/x']) {
      assert.isTrue(isIgnored(path), path)
    }
    assert.isTrue(isIgnored('server/deploy/compose/secrets/tokens'))
    for (const path of ['package.json', 'server/src/index.ts', 'test/tools/build.mjs']) {
      assert.isFalse(isIgnored(path), path)
    }
  })
})

describe('the steps of the Dockerfile', function () {
  this.timeout(600_000)
  if (!isFullRun) {
    it('make a command that serves', function () {
      skip(this, 'installs and builds a clone: run npm run test:ci')
    })
    return
  }

  // One of the steps changes the owner of a folder, which only root may do.
  needs('root')
  const stage = Stage.forEachTest()
  let folder: string
  /** The folder with the contents of the image's root folder. */
  let imageRoot: string

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-image-'))
    const context = join(folder, 'clone')
    execFileSync('git', ['clone', '--quiet', '--no-hardlinks', root, context], { stdio: 'pipe' })
    // npm takes the packages from its cache. The installation of this repository filled the cache.
    const env = { ...npmCommand().env, npm_config_prefer_offline: 'true' }
    imageRoot = runInstructions(instructions, { context, stagesFolder: folder, isIgnored, env })
  })

  after(() => rmSync(folder, { recursive: true, force: true }))

  it('make a command that prints its version', () => {
    const command = join(imageRoot, 'opt/holdfast/server/bin/holdfast')
    const { stdout, stderr } = spawnSync(command, ['--version'], { encoding: 'utf8' })
    assert.deepEqual([stdout.trim(), stderr], [manifest('server').version, ''])
  })

  it('install the dependencies of the server, and no packages for builds and tests', () => {
    const installed = join(imageRoot, 'opt/holdfast/node_modules')
    for (const name of ['mocha', 'typescript', '@biomejs', 'playwright-core', 'esbuild']) {
      assert.isFalse(existsSync(join(installed, name)), name)
    }
    for (const name of Object.keys(manifest('server').dependencies ?? {})) {
      const nested = join(imageRoot, 'opt/holdfast/server/node_modules', name)
      assert.isTrue(existsSync(join(installed, name)) || existsSync(nested), name)
    }
    assert.include(readdirSync(join(imageRoot, 'opt/holdfast')), 'LICENSE')
    assert.isFalse(existsSync(join(imageRoot, 'opt/holdfast/test')))
  })

  it('make a broker that writes its journal (a log on disk) to the image', async () => {
    const command = join(imageRoot, 'opt/holdfast/server/bin/holdfast')
    const journal = join(imageRoot, 'var/lib/holdfast/journal')
    const args = ['serve', '--port', '0', '--journal', journal]
    const serve = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(serve, 'close')
    stage.onCleanUp(() => serve.kill('SIGKILL'))
    const [line] = await once(createInterface(serve.stdout), 'line')
    const session = await stage.openSession(/ws:\S+/.exec(String(line))?.[0] ?? '')
    assert.isTrue((await session.lock('orders:42')).held)
    await session.close()
    serve.kill('SIGTERM')
    const [code] = await ended
    assert.equal(code, 0)
    assert.isNotEmpty(readdirSync(journal))
  })
})
