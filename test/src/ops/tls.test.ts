/**
 * Tests TLS of the broker itself, and TLS of a real nginx in front of the broker, with the
 * configuration from the server's README. The grace is how long a session survives the loss of its
 * connection; the grace `'lease'` is as long as the lease of the session. A fence is the number of
 * a grant.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { type Credentials, createBroker, HoldfastError } from '@holdfast/server'
import { brokerMetrics } from '@holdfast/server/metrics'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { openTcp } from '../e2e/raw.js'
import { expectRejection, nextEvent, Stage } from '../e2e/stage.js'
import { freePort } from '../support/freePort.js'
import { needs } from '../support/needs.js'
import { type Certificate, makeCertificate } from './certificate.js'
import { makeScratchFolder, type ScratchFolder } from './scratch.js'

describe('a broker with TLS', () => {
  needs('openssl')
  const stage = Stage.forEachTest()

  it('serves wss:// and accepts tokens', async () => {
    const { cert, key, TrustingWebSocket } = makeCertificate(makeScratchFolder(stage))
    const { url } = await stage.startBroker({
      tls: { cert, key },
      authenticate: ({ token }) => token,
    })
    expect(url).to.match(/^wss:\/\/127\.0\.0\.1:/)
    const session = await stage.openSession(url, { WebSocket: TrustingWebSocket, token: 't' })
    expect((await session.lock('k')).held).to.equal(true)
  })

  it('is refused by a client that does not trust its certificate', async () => {
    const { cert, key } = makeCertificate(makeScratchFolder(stage))
    const { url } = await stage.startBroker({ tls: { cert, key } })
    await expectRejection(stage.openSession(url), 'UNAVAILABLE')
  })

  it('closes without delay although a TLS handshake is unfinished', async () => {
    const { cert, key, TrustingWebSocket } = makeCertificate(makeScratchFolder(stage))
    const { broker, url, port } = await stage.startBroker({ tls: { cert, key } })
    const silentConnection = await openTcp(port)
    silentConnection.on('error', () => {})
    stage.onCleanUp(() => silentConnection.destroy())
    // The silent connection came first, so it has arrived when this session is open.
    await stage.openSession(url, { WebSocket: TrustingWebSocket })
    await broker.close()
  })

  it('refuses an invalid key with a message', async () => {
    const { cert } = makeCertificate(makeScratchFolder(stage))
    const broker = createBroker({ tls: { cert, key: 'not a key' } })
    stage.onCleanUp(() => broker.close())
    const error = await expectRejection(broker.listen({ port: 0 }), 'INVALID_OPTION')
    expect(error).to.be.instanceOf(HoldfastError).with.property('message').that.matches(/PEM/)
  })
})

/**
 * The nginx configuration from the server's README, with these ports and certificates. nginx writes
 * its own files to the folder of the test.
 */
function configFor(
  files: ScratchFolder,
  certs: Certificate,
  nginxPort: number,
  brokerPort: number,
): string {
  return `
error_log stderr notice;
pid ${files.path('nginx.pid')};
worker_processes 1;
events {}
http {
  access_log off;
  client_body_temp_path ${files.path('body')};
  proxy_temp_path ${files.path('proxy')};
  fastcgi_temp_path ${files.path('fastcgi')};
  uwsgi_temp_path ${files.path('uwsgi')};
  scgi_temp_path ${files.path('scgi')};
  server {
    listen 127.0.0.1:${nginxPort} ssl;
    server_name locks.example;
    ssl_certificate     ${certs.certPath};
    ssl_certificate_key ${certs.keyPath};
    location / {
      proxy_pass http://127.0.0.1:${brokerPort};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_read_timeout 120s;
    }
  }
}`
}

describe('a broker behind nginx', () => {
  needs('nginx', 'openssl')
  const stage = Stage.forEachTest()

  /** Starts nginx. Resolves when nginx serves, with a function that ends nginx. */
  async function startNginx(config: string): Promise<() => Promise<void>> {
    const child = spawn('nginx', ['-c', config, '-g', 'daemon off;'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const lines = createInterface(child.stderr)
    const stop = async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM')
        await once(child, 'exit')
      }
      lines.close()
    }
    stage.onCleanUp(stop)
    for await (const line of lines) if (line.includes('start worker process ')) break
    // The `break` has closed `lines`. Without another reader, a full pipe would block nginx.
    child.stderr.resume()
    return stop
  }

  /** Starts nginx with TLS in front of a broker. */
  async function startBrokerBehindNginx() {
    const files = makeScratchFolder(stage)
    const certs = makeCertificate(files)
    const credentialsSeen: Credentials[] = []
    const { port: brokerPort, broker } = await stage.startBroker({
      authenticate: (credentials) => {
        credentialsSeen.push(credentials)
        return credentials.token
      },
      trustedProxies: ['127.0.0.1'],
      hosts: ['locks.example', 'localhost'],
      origins: ['https://app.example'],
      metrics: brokerMetrics(),
    })
    const port = await freePort()
    const config = files.write('nginx.conf', configFor(files, certs, port, brokerPort))
    const stop = await startNginx(config)
    const url = `wss://localhost:${port}`
    return { url, broker, credentialsSeen, config, stop, ...certs }
  }

  it('grants locks to clients that send a token over TLS', async () => {
    const { url, TrustingWebSocket, credentialsSeen } = await startBrokerBehindNginx()
    const ann = await stage.openSession(url, { WebSocket: TrustingWebSocket, token: 'ann' })
    const bob = await stage.openSession(url, { WebSocket: TrustingWebSocket, token: 'bob' })
    const lock = await ann.lock('k')
    const requestOfBob = bob.lock('k')
    await lock.unlock()
    expect((await requestOfBob).fence).to.be.above(lock.fence)
    expect(credentialsSeen.map(({ token }) => token)).to.deep.equal(['ann', 'bob'])
  })

  it('keeps a session with a grace over a restart of nginx', async () => {
    const { url, TrustingWebSocket, stop, config } = await startBrokerBehindNginx()
    const session = await stage.openSession(url, {
      WebSocket: TrustingWebSocket,
      token: 'ann',
      grace: 'lease',
    })
    const lock = await session.lock('k')
    // The client emits `jeopardy` when it cannot reach the broker and may lose its locks.
    const jeopardy = nextEvent(session, 'jeopardy')
    await stop()
    await jeopardy
    const resumed = nextEvent(session, 'resumed')
    await startNginx(config)
    await resumed
    expect(lock.held).to.equal(true)
  })

  it('refuses a page of another origin, and serves no metrics through nginx', async () => {
    const { url, cert } = await startBrokerBehindNginx()
    const statusFor = async (origin: string) => {
      const socket = new WebSocket(url, ['holdfast.v1'], { ca: cert, origin })
      const [opened, refused] = [once(socket, 'open'), once(socket, 'unexpected-response')]
      // The promise that loses the race may reject later.
      for (const promise of [opened, refused]) promise.catch(() => {})
      const outcome = await Promise.race([
        opened.then(() => 101),
        refused.then(([, response]) => (response as { statusCode: number }).statusCode),
      ])
      socket.on('error', () => {})
      socket.terminate()
      return outcome
    }
    expect(await statusFor('https://evil.example')).to.equal(403)
    expect(await statusFor('https://app.example')).to.equal(101)
    const { get } = await import('node:https')
    const request = get(`${url.replace('wss', 'https')}/metrics`, { ca: cert })
    const [response] = (await once(request, 'response')) as [{ statusCode: number; resume(): void }]
    response.resume()
    // A request through a proxy is not local, even if the proxy is on the same machine. The broker
    // does not serve metrics to it, and answers with 426.
    expect(response.statusCode).to.equal(426)
  })
})
