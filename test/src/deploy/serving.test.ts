/**
 * Starts the real `holdfast serve` with the variables of each container in the files of
 * `server/deploy`. The test replaces the ports by free ports, and the paths by paths in a folder of
 * the test. A client must acquire a lock, and the probes of Kubernetes and the health check of the
 * image must find the broker ready. Brokers record all changes of locks in a log: on etcd, in
 * PostgreSQL, or in a journal (files of one broker).
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { dirname, join } from 'node:path'
import { assert } from 'chai'
import { Stage } from '../e2e/stage.js'
import { EtcdStage } from '../log/etcdStage.js'
import { PostgresStage } from '../log/postgresStage.js'
import { type Certificate, makeCertificate } from '../ops/certificate.js'
import { Holdfast, launcher } from '../ops/command.js'
import { makeScratchFolder, type ScratchFolder } from '../ops/scratch.js'
import { isFullRun } from '../support/counts.js'
import { freePort } from '../support/freePort.js'
import { needs } from '../support/needs.js'
import {
  type Environment,
  environments,
  imageEnvironment,
  kubernetesObjects,
  podsOf,
  readDeployFile,
  readDeployYaml,
  type Yaml,
} from './deployFiles.js'

/**
 * The address at which other machines reach this machine. Kubernetes sends its probes to such an
 * address.
 */
const ownAddress =
  Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1'

/** The folders in which the settings place files. The test replaces them by folders of its own. */
const folders = ['/etc/holdfast', '/var/lib/holdfast']

/** What a test prepares for one broker. */
interface Preparation {
  /** The folder of the test. */
  readonly files: ScratchFolder
  readonly certs: Certificate
  readonly token: string
  /** Makes the file with this path, but in a folder of the test. Returns the new path. */
  makeFile(path: string): string
}

describe('the files to deploy: a broker with their settings', function () {
  this.timeout(60_000)
  needs('openssl')
  const stage = Stage.forEachTest()
  // The etcd of these tests runs with the flags in the Compose file that limit the history and the
  // size of etcd.
  const [{ services }] = readDeployYaml('compose/cluster.yaml')
  const flags = services['etcd-1'].command.filter((flag: string) =>
    /^--(auto-compaction|quota)/.test(flag),
  )
  const etcd = EtcdStage.forSuite({ flags })
  const postgres = PostgresStage.forSuite()

  /** Makes a folder for a broker, a certificate and a file with a token. */
  async function prepare(): Promise<Preparation> {
    const files = makeScratchFolder(stage)
    const certs = makeCertificate(files)
    const args = ['token', 'billing', '--file', files.path('tokens')]
    const { code, out } = await Holdfast.run(stage, args)
    assert.equal(code, 0)
    // The command prints the token, and adds it to the file.
    const [token = ''] = out
    const makeFile = (path: string): string => {
      const testPath = folders.reduce(
        (value, folder) => value.replace(folder, files.path(folder.slice(1))),
        path,
      )
      mkdirSync(dirname(testPath), { recursive: true, mode: 0o700 })
      // The ending of the path tells whether the file is a certificate or a key.
      const source = { crt: certs.certPath, key: certs.keyPath }[path.split('.').at(-1) ?? '']
      if (source !== undefined) copyFileSync(source, testPath)
      if (path.endsWith('-password')) writeFileSync(testPath, 'secret\n', { mode: 0o600 })
      if (path.endsWith('/tokens')) copyFileSync(files.path('tokens'), testPath)
      return testPath
    }
    return { files, certs, token, makeFile }
  }

  /** Returns the environment with the ports, the files and the log of this test. */
  async function adapt(environment: Environment, { makeFile }: Preparation): Promise<Environment> {
    const adapted: Record<string, string> = { ...environment }
    for (const [name, value] of Object.entries(adapted)) {
      if (value.startsWith('/')) adapted[name] = makeFile(value)
    }
    adapted['HOLDFAST_PORT'] = '0'
    adapted['HOLDFAST_ADMIN_PORT'] = String(await freePort())
    const log = adapted['HOLDFAST_LOG']
    if (log !== undefined) adapted['HOLDFAST_LOG'] = await emptyLogLike(log)
    // The PostgreSQL of this test has no TLS.
    if (log?.startsWith('postgres:')) delete adapted['HOLDFAST_LOG_CA']
    return adapted
  }

  /**
   * Makes an empty log on PostgreSQL or etcd, like the log with this address. Returns the address
   * of the new log. The database has no other log, because a broker warns of other logs, and the
   * tests accept no warning.
   */
  async function emptyLogLike(address: string): Promise<string> {
    if (address.startsWith('postgres:')) return postgres.newDatabase()
    await etcd.removeAllKeys()
    return etcd.cluster.logUrl(etcd.prefix)
  }

  /** Starts the command. Resolves when the broker listens. */
  async function serve(
    env: Environment,
    ...args: string[]
  ): Promise<{ url: string; broker: Holdfast }> {
    const broker = Holdfast.start(stage, ['serve', ...args], { env })
    const lines = await broker.out.waitUntil((all) =>
      all.some((line) => line.includes('admin endpoints on')),
    )
    const [, scheme, port] = /listening on (wss?):\/\/0\.0\.0\.0:(\d+)/.exec(lines.join('\n')) ?? []
    return { url: `${scheme}://127.0.0.1:${port}`, broker }
  }

  /** Acquires a lock at the broker with a token. */
  async function acquireLock(url: string, { certs, token }: Preparation): Promise<void> {
    const { TrustingWebSocket: WebSocket } = certs
    const session = await stage.openSession(
      url,
      url.startsWith('wss:') ? { WebSocket, token } : { token },
    )
    assert.isTrue((await session.lock('orders:42')).held)
    await session.close()
  }

  /** Runs the health check of the Dockerfile as Docker does, and returns its exit code. */
  function healthCheck(env: Environment, files: ScratchFolder): number | null {
    const [, command = ''] =
      /^HEALTHCHECK .*\\\n\s*CMD (.*)$/m.exec(readDeployFile('Dockerfile')) ?? []
    const bin = files.path('bin')
    mkdirSync(bin)
    symlinkSync(launcher, join(bin, 'holdfast'))
    const path = `${bin}:${process.env['PATH']}`
    const spawnOptions = { env: { ...env, PATH: path }, encoding: 'utf8' } as const
    return spawnSync('sh', ['-c', command], spawnOptions).status
  }

  /** Stops the broker, and checks that it exits 0 without a message. */
  async function stop(broker: Holdfast): Promise<void> {
    broker.process.kill('SIGTERM')
    const { code, err } = await broker.ended()
    assert.deepEqual([code, err], [0, []])
  }

  // The brokers of one file differ only in their names, so a quick run tests only the first broker.
  const chosen = [...environments()].filter(([name]) => isFullRun || !/ broker-[23]$/.test(name))
  for (const [name, environment] of chosen) {
    it(`${name}: the broker grants a lock, is healthy, and exits 0`, async () => {
      const prepared = await prepare()
      const env = await adapt({ ...imageEnvironment(), ...environment }, prepared)
      const { url, broker } = await serve(env)
      // A broker behind nginx accepts tokens only from nginx, so `nginx.test.ts` tests its locks.
      const isBehindProxy = env['HOLDFAST_TRUSTED_PROXIES'] !== undefined
      if (!isBehindProxy) await acquireLock(url, prepared)
      assert.equal(healthCheck(env, prepared.files), 0)
      await stop(broker)
      // After the stop, the check must find the broker unhealthy (exit code 1). Each check makes a
      // folder `bin`, so the second check needs another folder.
      assert.equal(healthCheck(env, makeScratchFolder(stage)), 1)
    })
  }

  it('systemd/holdfast.json: the broker grants a lock and exits 0', async () => {
    const prepared = await prepare()
    const config = JSON.parse(readDeployFile('systemd/holdfast.json'))
    for (const [key, value] of Object.entries(config)) {
      if (String(value).startsWith('/')) config[key] = prepared.makeFile(String(value))
    }
    const json = JSON.stringify({ ...config, port: 0, adminPort: await freePort() })
    const file = prepared.files.write('holdfast.json', json)
    const { code, err } = await Holdfast.run(stage, ['serve', '--check', '--config', file])
    assert.deepEqual([code, err], [0, []])
    const { url, broker } = await serve({}, '--config', file)
    await acquireLock(url, prepared)
    await stop(broker)
  })

  it('answers every probe and serves its metrics on the address of the pod', async () => {
    const prepared = await prepare()
    const journal = environments().get('kubernetes/journal.yaml') ?? {}
    const env = await adapt({ ...imageEnvironment(), ...journal }, prepared)
    await serve(env)
    const [monitor] = kubernetesObjects('kubernetes/monitoring.yaml', 'ServiceMonitor')
    const pods = ['kubernetes/brokers.yaml', 'kubernetes/journal.yaml'].flatMap(podsOf)
    const probes = pods.flatMap(({ container }) => [
      container.startupProbe.httpGet,
      container.readinessProbe.httpGet,
      container.livenessProbe.httpGet,
    ])
    const paths = [...probes, ...monitor.spec.endpoints].map(({ path, port }: Yaml) => {
      assert.equal(port, 'admin')
      return path
    })
    assert.sameMembers([...new Set(paths)], ['/healthz', '/readyz', '/metrics'])
    for (const path of new Set(paths)) {
      const { status } = await fetch(`http://${ownAddress}:${env['HOLDFAST_ADMIN_PORT']}${path}`)
      assert.equal(status, 200, path)
    }
  })

  it('exits 78 (a wrong setting) if the only settings are those of the image', async () => {
    // The image sets no tokens, and a broker without tokens refuses to serve other machines.
    const { code, err } = await Holdfast.run(stage, ['serve'], { env: imageEnvironment() })
    assert.equal(code, 78)
    assert.match(err.join('\n'), /Cannot listen on 0\.0\.0\.0/)
  })
})
