/**
 * Tests the client in web pages: as one file without a bundler, and bundled by esbuild and by Vite;
 * in a window, a worker and a shared worker.
 */
import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Session, WebSocketConstructor } from '@holdfast/client'
import { connect } from '@holdfast/client'
import { createBroker } from '@holdfast/server'
import { expect } from 'chai'
import { build } from 'esbuild'
import { WebSocket } from 'ws'
import { npmCommand, runNpm } from '../conventions/npm.js'
import { root } from '../conventions/repository.js'
import { isFullRun } from '../support/counts.js'
import { needs } from '../support/needs.js'
import { DevTools, type Tab } from './devtools.js'
import { openSite, type Site } from './site.js'

const bundle = join(root, 'client/dist/bundle/holdfast.js')
/** The client for several cells: independent brokers, each of which has a part of the keys. */
const cellBundle = join(root, 'client/dist/bundle/holdfast-cells.js')
/** Largest size of the gzipped bundle, in bytes. About 1,000 bytes of it are eventemitter3. */
const maxBytes = 27_600
/** Largest size of the gzipped bundle for cells, in bytes. */
const maxCellBytes = 30_750
/** Largest size of a bundle with only the retry strategy `fixedInterval`, in bytes, not gzipped. */
const maxRetryStrategyBytes = 4_500

/**
 * The script of a page that imports the client from this specifier. Its function `use` closes the
 * session in the callback of a lock, so that the request rejects. `use` returns the reason of the
 * error. If the request does not reject, `use` returns a description of the lock.
 */
function pageScript(specifier: string): string {
  return `
import { connect } from '${specifier}'
globalThis.use = async (url, key) => {
  const session = await connect(url, { name: 'page' })
  return session.locks.request(key, async (lock) => {
    const { held } = await session.query({ key })
    await session.close().catch(() => {})
    return held.length + ' ' + held[0].name + ' ' + (held[0].fence === lock.fence)
  }).catch((error) => 'closed in the callback: ' + error.cause.reason)
}`
}

/** Bundles this module with esbuild, and returns the text of the bundle. */
async function bundled(text: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: text, resolveDir: root },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    minify: true,
    write: false,
  })
  return outputFiles[0]!.text
}

/** The names of the members of a session, and of the objects that a session returns. */
async function membersWith(connectFunction: typeof connect, url: string): Promise<string[][]> {
  const session = await connectFunction(url, {
    WebSocket: WebSocket as unknown as WebSocketConstructor,
  })
  // The URL also serves as the key.
  const lock = await session.lock(url, { ttl: 60_000 })
  const watch = session.watch(url, () => {})
  const error = await session.tryLock(url).catch((error) => error)
  const queryResult = await session.query()
  const callbackMembers = await session.locks.request('a name', async (held) => [
    membersOf(held),
    membersOf((await session.locks.query()).held[0]),
  ])
  await lock.unlock()
  await session.close()
  const objects = [session, session.locks, lock, watch, error, queryResult, queryResult.held[0]]
  return [...objects.map(membersOf), ...callbackMembers]
}

/** The names of all members of an object, also of the inherited members. */
function membersOf(object: unknown): string[] {
  const members = new Set<string>()
  for (
    let owner = object;
    owner !== null && owner !== Object.prototype;
    owner = Object.getPrototypeOf(owner)
  ) {
    for (const member of Reflect.ownKeys(owner as object)) members.add(String(member))
  }
  return [...members].sort()
}

describe('the client bundle', () => {
  it(`is below ${maxBytes} bytes, minified and gzipped`, async () => {
    const text = await readFile(bundle)
    expect(gzipSync(text, { level: 9 }).length).to.be.below(maxBytes)
  })

  it(`contains no code for cells, and the bundle for cells is below ${maxCellBytes} bytes`, async () => {
    // This name is in the code for cells only.
    expect(await readFile(bundle, 'utf8')).not.to.include('cellClosed')
    const text = await readFile(cellBundle)
    expect(text.toString()).to.include('cellClosed')
    expect(gzipSync(text, { level: 9 }).length).to.be.below(maxCellBytes)
  })

  it('contains no code for Node', async () => {
    for (const file of [bundle, cellBundle]) {
      const text = await readFile(file, 'utf8')
      expect(text).not.to.match(/\bprocess\b|\bBuffer\b|\brequire\b|node:|setImmediate/)
    }
  })

  it('exports the same names as the package', async () => {
    const [fromBundle, fromPackage] = await Promise.all([
      import(bundle),
      import('@holdfast/client'),
    ])
    expect(Object.keys(fromBundle)).to.have.members(Object.keys(fromPackage))
    const [cellsFromBundle, cellsFromPackage] = await Promise.all([
      import(cellBundle),
      import('@holdfast/client/cells'),
    ])
    expect(Object.keys(cellsFromBundle)).to.have.members(Object.keys(cellsFromPackage))
  })

  it('returns objects with the same members as the package', async () => {
    const broker = createBroker()
    const { port } = await broker.listen({ port: 0, host: '127.0.0.1' })
    try {
      const url = `ws://127.0.0.1:${port}`
      const [fromBundle, fromPackage] = await Promise.all([
        membersWith((await import(bundle)).connect, url),
        membersWith(connect, url),
      ])
      expect(fromBundle).to.deep.equal(fromPackage)
      // Checks that the lists are complete: they must have one member each of a session, of a lock
      // and of a result of `locks.query`.
      expect(fromPackage.flat()).to.include.members(['singleflightLock', 'autoRefresh', 'clientId'])
    } finally {
      await broker.close()
    }
  })

  it('of a program contains only the exports that the program uses', async () => {
    const errorBundle = await bundled(`export { HoldfastError } from '@holdfast/client'`)
    expect(errorBundle).to.include('LOCK_HELD').and.not.include('WebSocket')
    const retryStrategyBundle = await bundled(`export { fixedInterval } from '@holdfast/client'`)
    // Only the code for connections has the name of the subprotocol.
    expect(retryStrategyBundle).not.to.include('holdfast.v1')
    expect(retryStrategyBundle.length).to.be.below(maxRetryStrategyBytes)
  })
})

describe('the client in a browser', function () {
  this.timeout(300_000)
  needs('chromium')
  let site: Site
  let browser: DevTools
  /** A session of the test itself, which sees and requests the locks of the pages. */
  let testSession: Session
  let tab: Tab
  const pages: Record<string, string> = {}

  before(async () => {
    site = await openSite({ pages })
    browser = await DevTools.launch()
    testSession = await connect(site.url)
  })

  after(async () => {
    await testSession?.close()
    await browser?.close()
    await site?.close()
  })

  afterEach(() => tab?.close().catch(() => {}))

  /**
   * Opens a page with this script. Checks that the script gets the lock of the key, and that the
   * request rejects when the session closes in the callback.
   */
  async function tryScript(key: string, script: string): Promise<void> {
    pages[`/${key}.html`] = `<!doctype html><title>page</title>${script}`
    tab = await browser.open(`${site.origin}/${key}.html`)
    const use = `globalThis.use(${JSON.stringify(site.url)}, ${JSON.stringify(key)})`
    expect(await tab.evaluate(use)).to.equal('closed in the callback: session')
  }

  it('runs from a plain <script type="module">', () =>
    tryScript('plain', `<script type="module">${pageScript('/holdfast.js')}</script>`))

  it('runs after bundling by esbuild', async () => {
    pages['/esbuild.js'] = await bundled(pageScript('@holdfast/client'))
    await tryScript('esbuild', '<script type="module" src="/esbuild.js"></script>')
  })

  if (isFullRun) {
    it('runs after bundling by Vite', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'holdfast-vite-'))
      try {
        pages['/vite.js'] = await viteBuild(folder)
        await tryScript('vite', '<script type="module" src="/vite.js"></script>')
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    })
  }

  it('runs in a worker, and the locks of a worker are free after its termination', async () => {
    pages['/worker.js'] = `
      import { connect } from '/holdfast.js'
      const session = await connect('${site.url}')
      await session.lock('worker')
      postMessage('held')`
    tab = await browser.open(`${site.origin}/page.html`)
    await tab.evaluate(`new Promise((resolve) => {
      globalThis.worker = new Worker('/worker.js', { type: 'module' })
      worker.onmessage = () => resolve()
    })`)
    expect((await testSession.query({ key: 'worker' })).heldCount).to.equal(1)
    const waiting = testSession.lock('worker')
    await tab.evaluate('worker.terminate()')
    await (await waiting).unlock()
  })

  it('runs in a shared worker, which keeps its locks until its last page is closed', async () => {
    pages['/shared.js'] = `
      import { connect } from '/holdfast.js'
      const session = connect('${site.url}')
      const lock = session.then((opened) => opened.lock('shared'))
      onconnect = ({ ports: [port] }) => {
        lock.then(({ fence }) => port.postMessage(fence))
      }`
    const use = `new Promise((resolve) => {
      globalThis.shared = new SharedWorker('/shared.js', { type: 'module' })
      shared.port.onmessage = ({ data }) => resolve(data)
    })`
    tab = await browser.open(`${site.origin}/page.html`)
    const other = await browser.open(`${site.origin}/page.html`)
    // The number of the grant: an equal fence shows that the other page got the same lock.
    const fence = await tab.evaluate(use)
    expect(await other.evaluate(use)).to.equal(fence)
    await other.close()
    const { held } = await testSession.query({ key: 'shared' })
    expect(held.map((lock) => lock.fence)).to.deep.equal([fence])
    const waiting = testSession.lock('shared')
    await tab.close()
    await (await waiting).unlock()
  })
})

/** Writes a project with the client into this folder. Returns the script that Vite builds. */
async function viteBuild(folder: string): Promise<string> {
  await writeFile(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n')
  const npmOptions = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
  runNpm(folder, 'install', ...npmOptions, 'vite@8')
  await symlink(join(root, 'node_modules/@holdfast'), join(folder, 'node_modules/@holdfast'))
  await mkdir(join(folder, 'src'))
  await writeFile(join(folder, 'src/main.js'), pageScript('@holdfast/client'))
  await writeFile(
    join(folder, 'index.html'),
    '<!doctype html><script type="module" src="/src/main.js"></script>',
  )
  await writeFile(
    join(folder, 'vite.config.js'),
    `export default { build: { rollupOptions: { output: { entryFileNames: 'main.js' } } } }`,
  )
  const { command, args, env } = npmCommand(
    'exec',
    '--no',
    '--',
    'vite',
    'build',
    '--logLevel',
    'warn',
  )
  const { status, stderr } = spawnSync(command, args, { cwd: folder, env, encoding: 'utf8' })
  expect(status, stderr).to.equal(0)
  return readFile(join(folder, 'dist/main.js'), 'utf8')
}
