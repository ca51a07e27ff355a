/**
 * Starts the real command with each environment in the files to deploy, on free ports and with its
 * files in a folder of the test. A client acquires a lock, and every probe and the health check of
 * the image find the broker ready.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, symlinkSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { dirname, join } from 'node:path'
import { assert } from 'chai'
import { Stage } from '../e2e/stage.js'
import { EtcdStage } from '../log/etcdStage.js'
import { type Certificate, certificate } from '../ops/certificate.js'
import { Holdfast, launcher } from '../ops/command.js'
import { type Scratch, scratch } from '../ops/scratch.js'
import { freePort } from '../support/freePort.js'
import { needs } from '../support/needs.js'
import {
  type Environment,
  environments,
  imageEnvironment,
  objects,
  podsOf,
  text,
  type Yaml,
  yaml,
} from './deployFiles.js'

/**
 * An address of this machine that other machines could use, as the machines that probe a pod do.
 */
const ownAddress =
  Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1'

/** Folders in the files to deploy. The test replaces them by folders of its own. */
const folders = ['/etc/holdfast', '/var/lib/holdfast']

interface Prepared {
  readonly files: Scratch
  readonly certs: Certificate
  readonly token: string
  /** The path at which the test has a file of the environment. */
  place(path: string): string
}

describe('the files to deploy: a broker with their settings', function () {
  this.timeout(60_000)
  needs('openssl')
  const stage = Stage.forEachTest()
  // The real members of etcd get the flags in the file, except names and addresses.
  const [{ services }] = yaml('compose/cluster.yaml')
  const flags = services['etcd-1'].command.filter((flag: string) =>
    /^--(auto-compaction|quota)/.test(flag),
  )
  const etcd = EtcdStage.forSuite({ flags })

  async function prepare(): Promise<Prepared> {
    const files = scratch(stage)
    const certs = certificate(files)
    const args = ['token', 'billing', '--file', files.path('tokens')]
    const { code, out } = await Holdfast.run(stage, args)
    assert.equal(code, 0)
    const [token = ''] = out
    const place = (path: string): string => {
      const moved = folders.reduce(
        (value, folder) => value.replace(folder, files.path(folder.slice(1))),
        path,
      )
      mkdirSync(dirname(moved), { recursive: true, mode: 0o700 })
      const source = { crt: certs.certPath, key: certs.keyPath }[path.split('.').at(-1) ?? '']
      if (source !== undefined) copyFileSync(source, moved)
      if (path.endsWith('/tokens')) copyFileSync(files.path('tokens'), moved)
      return moved
    }
    return { files, certs, token, place }
  }

  /** The environment on free ports, with files and an etcd that exist here. */
  async function adapt(environment: Environment, { place }: Prepared): Promise<Environment> {
    const all: Record<string, string> = { ...environment }
    for (const [name, value] of Object.entries(all)) {
      if (value.startsWith('/')) all[name] = place(value)
    }
    all['HOLDFAST_PORT'] = '0'
    all['HOLDFAST_ADMIN_PORT'] = String(await freePort())
    if (all['HOLDFAST_LOG'] !== undefined) {
      all['HOLDFAST_LOG'] = etcd.cluster.address(etcd.prefix)
    }
    return all
  }

  /** Starts the command; resolves when it listens. */
  async function serve(
    env: Environment,
    ...args: string[]
  ): Promise<{ url: string; broker: Holdfast }> {
    const broker = Holdfast.start(stage, ['serve', ...args], { env })
    const lines = await broker.out.until((all) =>
      all.some((line) => line.includes('admin endpoints on')),
    )
    const [, scheme, port] = /listening on (wss?):\/\/0\.0\.0\.0:(\d+)/.exec(lines.join('\n')) ?? []
    return { url: `${scheme}://127.0.0.1:${port}`, broker }
  }

  async function takeLock(url: string, { certs, token }: Prepared): Promise<void> {
    const { WebSocket } = certs
    const session = await stage.session(
      url,
      url.startsWith('wss:') ? { WebSocket, token } : { token },
    )
    assert.isTrue((await session.lock('orders:42')).held)
    await session.close()
  }

  /** Runs the health check of the Dockerfile as Docker does, and returns its exit code. */
  function healthCheck(env: Environment, files: Scratch): number | null {
    const [, line = ''] = /^HEALTHCHECK .*\\\n\s*CMD (.*)$/m.exec(text('Dockerfile')) ?? []
    const bin = files.path('bin')
    mkdirSync(bin)
    symlinkSync(launcher, join(bin, 'holdfast'))
    const path = `${bin}:${process.env['PATH']}`
    const around = { env: { ...env, PATH: path }, encoding: 'utf8' } as const
    return spawnSync('sh', ['-c', line], around).status
  }

  async function stop(broker: Holdfast): Promise<void> {
    broker.process.kill('SIGTERM')
    const { code, err } = await broker.ended()
    assert.deepEqual([code, err], [0, []])
  }

  for (const [name, environment] of environments()) {
    it(`${name}: grants a lock, is healthy, and exits with 0`, async () => {
      const prepared = await prepare()
      const env = await adapt({ ...imageEnvironment(), ...environment }, prepared)
      const { url, broker } = await serve(env)
      // A broker behind nginx accepts tokens from there only; nginx.test.ts tries that.
      const isBehindProxy = env['HOLDFAST_TRUSTED_PROXIES'] !== undefined
      if (!isBehindProxy) await takeLock(url, prepared)
      assert.equal(healthCheck(env, prepared.files), 0)
      await stop(broker)
      assert.equal(healthCheck(env, scratch(stage)), 1)
    })
  }

  it('systemd/holdfast.json: grants a lock and exits with 0', async () => {
    const prepared = await prepare()
    const config = JSON.parse(text('systemd/holdfast.json'))
    for (const [key, value] of Object.entries(config)) {
      if (String(value).startsWith('/')) config[key] = prepared.place(String(value))
    }
    const json = JSON.stringify({ ...config, port: 0, adminPort: await freePort() })
    const file = prepared.files.write('holdfast.json', json)
    const { code, err } = await Holdfast.run(stage, ['serve', '--check', '--config', file])
    assert.deepEqual([code, err], [0, []])
    const { url, broker } = await serve({}, '--config', file)
    await takeLock(url, prepared)
    await stop(broker)
  })

  it('answers every probe and the metrics by the address of a pod', async () => {
    const prepared = await prepare()
    const journal = environments().get('kubernetes/journal.yaml') ?? {}
    const env = await adapt({ ...imageEnvironment(), ...journal }, prepared)
    await serve(env)
    const [monitor] = objects('kubernetes/monitoring.yaml', 'ServiceMonitor')
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

  it('refuses to start with the settings of the image alone, with a code that ends retries', async () => {
    const { code, err } = await Holdfast.run(stage, ['serve'], { env: imageEnvironment() })
    assert.equal(code, 78)
    assert.match(err.join('\n'), /Cannot listen on 0\.0\.0\.0/)
  })
})
