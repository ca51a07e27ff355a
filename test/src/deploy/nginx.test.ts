/**
 * The configuration of nginx, before real brokers: nginx accepts the file, brokers see the tokens
 * and addresses of the clients, and clients of a stopped broker are passed to another broker.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Credentials, HoldfastBroker } from '@holdfast/server'
import { assert } from 'chai'
import { Stage } from '../e2e/stage.js'
import { type Certificate, certificate } from '../ops/certificate.js'
import { type Scratch, scratch } from '../ops/scratch.js'
import { freePort } from '../support/freePort.js'
import { needs } from '../support/needs.js'
import { text } from './deployFiles.js'

const conf = text('nginx/holdfast.conf')
const [, serverName = ''] = /server_name (\S+);/.exec(conf) ?? []

/**
 * Writes a configuration of nginx that uses only one folder, and includes the file as
 * `/etc/nginx/conf.d` does. @returns its path
 */
function configFor(
  files: Scratch,
  { certPath, keyPath }: Certificate,
  listen: number,
  brokers: readonly number[],
): string {
  const adapted = conf
    .replace('listen 443 ssl', `listen 127.0.0.1:${listen} ssl`)
    .replace('/etc/nginx/certs/tls.crt', certPath)
    .replace('/etc/nginx/certs/tls.key', keyPath)
    .replace(/broker-(\d):7420/g, (_, number) => `127.0.0.1:${brokers[Number(number) - 1]}`)
  const site = files.write('holdfast.conf', adapted)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const paths = temporary.map((name) => `${name}_temp_path ${files.path(name)};`).join('\n')
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

  async function brokers(count: number) {
    const seen: Credentials[] = []
    const made: { broker: HoldfastBroker; port: number }[] = []
    for (let i = 0; i < count; i++) {
      const options = { trustedProxies: ['127.0.0.1'], hosts: [serverName, 'localhost'] }
      const authenticate = (credentials: Credentials) => {
        seen.push(credentials)
        return credentials.token
      }
      made.push(await stage.broker({ ...options, authenticate }))
    }
    return { made, seen }
  }

  /** Starts nginx in front of these ports; resolves with its URL once it serves. */
  async function nginx(ports: readonly number[]) {
    const files = scratch(stage)
    const certs = certificate(files)
    const listen = await freePort()
    const config = configFor(files, certs, listen, ports)
    const test = spawnSync('nginx', ['-t', '-q', '-c', config], { encoding: 'utf8' })
    assert.deepEqual([test.status, test.stderr], [0, ''])
    const child = spawn('nginx', ['-c', config, '-g', 'daemon off;'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    stage.onClear(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'exit')
    })
    for await (const line of createInterface(child.stderr)) {
      if (line.includes('start worker process ')) break
    }
    child.stderr.resume()
    return { url: `wss://localhost:${listen}`, WebSocket: certs.WebSocket }
  }

  it('passes WebSockets on, with the token and the address of the client', async () => {
    const { made, seen } = await brokers(3)
    const { url, WebSocket } = await nginx(made.map(({ port }) => port))
    for (const token of ['ann', 'bob', 'cy']) {
      const session = await stage.session(url, { WebSocket, token })
      assert.isTrue((await session.lock('orders:42')).held)
    }
    const addresses = seen.map(({ token, remoteAddress }) => [token, remoteAddress])
    assert.deepEqual(addresses, [
      ['ann', '127.0.0.1'],
      ['bob', '127.0.0.1'],
      ['cy', '127.0.0.1'],
    ])
    // Because of `least_conn`, each broker has one client.
    assert.deepEqual(
      made.map(({ broker }) => broker.status().connections),
      [1, 1, 1],
    )
  })

  it('passes clients to the remaining brokers when others have stopped', async () => {
    const { made } = await brokers(3)
    const { url, WebSocket } = await nginx(made.map(({ port }) => port))
    await made[0]?.broker.close()
    await made[1]?.broker.close()
    for (const token of ['ann', 'bob']) {
      const session = await stage.session(url, { WebSocket, token })
      assert.isTrue((await session.lock(token)).held)
    }
    assert.equal(made[2]?.broker.status().connections, 2)
  })
})
