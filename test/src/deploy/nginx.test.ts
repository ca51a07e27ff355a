/**
 * Tests a real nginx with the configuration in `server/deploy` in front of real brokers. nginx must
 * accept the file, pass the tokens and addresses of clients to the brokers, and pass clients of a
 * stopped broker to another broker.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Credentials, HoldfastBroker } from '@holdfast/server'
import { assert } from 'chai'
import { Stage } from '../e2e/stage.js'
import { type Certificate, makeCertificate } from '../ops/certificate.js'
import { makeScratchFolder, type ScratchFolder } from '../ops/scratch.js'
import { freePort } from '../support/freePort.js'
import { needs } from '../support/needs.js'
import { readDeployFile } from './deployFiles.js'

const conf = readDeployFile('nginx/holdfast.conf')
const [, serverName = ''] = /server_name (\S+);/.exec(conf) ?? []
/** All clients connect from this address. nginx connects to the brokers from 127.0.0.1. */
const clientAddress = '127.0.0.2'

/**
 * Writes a configuration for nginx that uses only the folder of the test. It includes a copy of
 * the deployed file with the ports and paths of the test. Returns the path of the configuration.
 */
function configFor(
  files: ScratchFolder,
  { certPath, keyPath }: Certificate,
  port: number,
  brokerPorts: readonly number[],
): string {
  const adapted = conf
    .replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
    .replace('/etc/nginx/certs/tls.crt', certPath)
    .replace('/etc/nginx/certs/tls.key', keyPath)
    .replace(/broker-(\d):7420/g, (_, number) => `127.0.0.1:${brokerPorts[Number(number) - 1]}`)
  const site = files.write('holdfast.conf', adapted)
  const temporaryFolders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const paths = temporaryFolders.map((name) => `${name}_temp_path ${files.path(name)};`).join('\n')
  return files.write(
    'nginx.conf',
    `error_log stderr notice;
pid ${files.path('nginx.pid')};
worker_processes 1;
events {}
http {
access_log off;
${paths}
include ${site};
}
`,
  )
}

describe('nginx/holdfast.conf', () => {
  needs('nginx', 'openssl')
  const stage = Stage.forEachTest()

  /** Starts brokers that record the credentials of all clients. */
  async function startBrokers(count: number) {
    const seen: Credentials[] = []
    const brokers: { broker: HoldfastBroker; port: number }[] = []
    for (let i = 0; i < count; i++) {
      const options = { trustedProxies: ['127.0.0.1'], hosts: [serverName, 'localhost'] }
      const authenticate = (credentials: Credentials) => {
        seen.push(credentials)
        return credentials.token
      }
      brokers.push(await stage.startBroker({ ...options, authenticate }))
    }
    return { brokers, seen }
  }

  /** Starts nginx for the brokers that listen on these ports. Resolves when nginx serves. */
  async function nginx(brokerPorts: readonly number[]) {
    const files = makeScratchFolder(stage)
    // The WebSocket class in `certs` connects from `clientAddress`.
    const certs = makeCertificate(files, clientAddress)
    const port = await freePort()
    const config = configFor(files, certs, port, brokerPorts)
    const check = spawnSync('nginx', ['-t', '-q', '-c', config], { encoding: 'utf8' })
    assert.deepEqual([check.status, check.stderr], [0, ''])
    const child = spawn('nginx', ['-c', config, '-g', 'daemon off;'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    stage.onCleanUp(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'exit')
    })
    for await (const line of createInterface(child.stderr)) {
      if (line.includes('start worker process ')) break
    }
    // Reads on, so that nginx never waits for a full pipe.
    child.stderr.resume()
    return { url: `wss://localhost:${port}`, WebSocket: certs.TrustingWebSocket }
  }

  it('forwards WebSockets with the token and address of the client, and distributes three clients to three brokers', async () => {
    const { brokers, seen } = await startBrokers(3)
    const { url, WebSocket } = await nginx(brokers.map(({ port }) => port))
    for (const token of ['ann', 'bob', 'cy']) {
      const session = await stage.openSession(url, { WebSocket, token })
      // The brokers share no locks, so each broker grants this key.
      assert.isTrue((await session.lock('orders:42')).held)
    }
    const clients = seen.map(({ token, remoteAddress }) => [token, remoteAddress])
    assert.deepEqual(clients, [
      ['ann', clientAddress],
      ['bob', clientAddress],
      ['cy', clientAddress],
    ])
    // The option `least_conn` chooses the broker with the fewest connections.
    assert.deepEqual(
      brokers.map(({ broker }) => broker.status().connections),
      [1, 1, 1],
    )
  })

  it('forwards clients to the remaining broker when two brokers have stopped', async () => {
    const { brokers } = await startBrokers(3)
    const { url, WebSocket } = await nginx(brokers.map(({ port }) => port))
    await brokers[0]?.broker.close()
    await brokers[1]?.broker.close()
    for (const token of ['ann', 'bob']) {
      const session = await stage.openSession(url, { WebSocket, token })
      assert.isTrue((await session.lock(token)).held)
    }
    assert.equal(brokers[2]?.broker.status().connections, 2)
  })
})
