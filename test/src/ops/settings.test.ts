/**
 * `holdfast serve` and where its settings are from; and every setting that cannot be, which is one
 * sentence and exit code 78.
 */
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { Holdfast } from './command.js'
import { scratch } from './scratch.js'

describe('holdfast serve: settings', () => {
  const stage = Stage.forEachTest()

  const check = async (args: string[], env: Record<string, string> = {}) =>
    Holdfast.run(stage, ['serve', '--check', ...args], { env })

  it('are taken from flags before variables, and from variables before the file', async () => {
    const file = scratch(stage).write(
      'holdfast.json',
      JSON.stringify({
        port: 1,
        host: 'localhost',
        drain: '5s',
        limits: { helloMs: 100, locksPerSession: 5, messagesPerSecond: 'off' },
        origins: ['https://a.example'],
        profile: 'public',
      }),
    )
    const flags = ['--port', '3', '--limit', 'helloMs=300', '--quiet-start', '2.01s']
    const { code, out } = await check(flags, {
      HOLDFAST_CONFIG: file,
      HOLDFAST_PORT: '2',
      HOLDFAST_HOST: '127.0.0.1',
      HOLDFAST_DEV: 'true',
      HOLDFAST_ORIGINS: 'https://b.example, https://c.example',
    })
    expect(code).to.equal(0)
    const limits = { helloMs: 300, locksPerSession: 5, messagesPerSecond: 'off' }
    for (const line of [
      'holdfast uses port 3 from a flag',
      'holdfast uses quietStart 2010 from a flag',
      'holdfast uses host 127.0.0.1 from HOLDFAST_HOST',
      `holdfast uses drain 5000 from ${file}`,
      `holdfast uses limits ${JSON.stringify(limits)} from a flag`,
      'holdfast uses origins ["https://b.example","https://c.example"] from HOLDFAST_ORIGINS',
      'holdfast uses dev true from HOLDFAST_DEV',
      `holdfast uses profile public from ${file}`,
      'holdfast uses logLevel warn from default',
    ]) {
      expect(out).to.include(line)
    }
  })

  it('that were not typed are told when it starts', async () => {
    const around = { env: { HOLDFAST_PORT: '0', HOLDFAST_LIMITS: 'helloMs=100' } }
    const serve = Holdfast.start(stage, ['serve', '--drain', '1s'], around)
    await serve.out.count(3)
    expect(serve.out.items[0]).to.match(/^holdfast is listening on ws:/)
    expect(serve.out.items.slice(1, 3)).to.deep.equal([
      'holdfast uses port 0 from HOLDFAST_PORT',
      'holdfast uses limits {"helloMs":100} from HOLDFAST_LIMITS',
    ])
    serve.process.kill('SIGTERM')
    expect((await serve.ended()).code).to.equal(0)
  })

  it('ignores what Kubernetes sets for a Service, whatever its name', async () => {
    const services = ['', '_0', '_A', '_LOG', '_ADMIN', '_HOST', '_PORT', '_URL', '_DEV', '_TOKENS']
    const { code, out } = await check([], Object.assign({}, ...services.map(linksOf)))
    expect(code).to.equal(0)
    expect(out).to.include('holdfast uses port 7420 from default')
    expect(out.filter((line) => !line.endsWith('from default'))).to.deep.equal([])
  })

  it('takes a port for a port beside such links, and finds a name that was mistyped', async () => {
    const links = linksOf('_0')
    const { out } = await check([], {
      ...links,
      HOLDFAST_PORT: '7000',
      HOLDFAST_ADMIN_PORT: '7001',
    })
    expect(out).to.include('holdfast uses port 7000 from HOLDFAST_PORT')
    expect(out).to.include('holdfast uses adminPort 7001 from HOLDFAST_ADMIN_PORT')
    const mistyped = await check([], { ...links, HOLDFAST_PROT: '7000' })
    expect(mistyped.code).to.equal(78)
    expect(mistyped.err[0]).to.include('did you mean HOLDFAST_PORT?')
  })

  it('give metrics and health on a port for operators', async () => {
    const args = ['serve', '--port', '0', '--metrics', '--admin-port', '0']
    const serve = Holdfast.start(stage, args)
    const [, line] = await serve.out.count(2)
    const url = /http:\S+/.exec(line!)![0]
    expect(await (await fetch(`${url}/metrics`)).text()).to.include('holdfast_sessions 0')
    expect((await fetch(`${url}/readyz`)).status).to.equal(200)
  })

  it('log as JSON on standard error, at the level that is asked for', async () => {
    const serve = Holdfast.start(stage, ['serve', '--port', '0', '--log-level', 'info'])
    const [line] = await serve.out.count(1)
    const url = line!.split(' ').at(-1)!
    await Holdfast.run(stage, ['ping', '--count', '1', '--url', url])
    const [logged] = await serve.err.count(1)
    expect(JSON.parse(logged!)).to.include({ msg: 'Session ended', reason: 'goodbye' })
  })

  interface Wrong {
    readonly what: string
    readonly args?: string[]
    readonly env?: Record<string, string>
    /** Content of a config file. */
    readonly config?: string
    readonly sentence: RegExp
  }
  const wrong: Wrong[] = [
    { what: 'a misspelt key', config: '{"prot":1}', sentence: /"prot" in .* did you mean port\?$/ },
    {
      what: 'a key out of nowhere',
      config: '{"zzz":1}',
      sentence: /"zzz" .* there are port, host/,
    },
    {
      what: 'a misspelt limit',
      config: '{"limits":{"heloMs":1}}',
      sentence: /did you mean helloMs\?/,
    },
    {
      what: 'a limit that cannot be',
      config: '{"limits":{"keyBytes":9999}}',
      sentence: /at most 512/,
    },
    { what: 'a number that is none', config: '{"port":"x"}', sentence: /port in .* whole number/ },
    { what: 'a time that is none', config: '{"drain":"5 days"}', sentence: /drain in .* "10s"/ },
    { what: 'a word that is no choice', config: '{"profile":"x"}', sentence: /private, public/ },
    { what: 'a config that is no object', config: '[]', sentence: /is not an object/ },
    { what: 'a config that is no JSON', config: '{', sentence: /is not JSON/ },
    { what: 'no config', args: ['--config', '/nonexistent'], sentence: /cannot be read/ },
    {
      what: 'a misspelt variable',
      env: { HOLDFAST_HOTS: 'x' },
      sentence: /HOLDFAST_HOTS is not a setting; did you mean HOLDFAST_HOSTS?/,
    },
    {
      what: 'a variable that cannot be',
      env: { HOLDFAST_DEV: 'perhaps' },
      sentence: /true or false/,
    },
    {
      what: 'no token file',
      args: ['--tokens', '/nonexistent'],
      sentence: /token file .* cannot be/,
    },
    { what: 'no certificate', args: tls('/nonexistent'), sentence: /\/nonexistent cannot be read/ },
    { what: 'half of TLS', args: ['--tls-cert', 'x'], sentence: /tlsCert and tlsKey go together/ },
    {
      what: 'two ways to be known',
      args: ['--tokens', 'a', '--jwt-jwks', 'b'],
      sentence: /use one/,
    },
    {
      what: 'two kinds of key',
      args: ['--jwt-secret-file', 'a', '--jwt-jwks', 'b'],
      sentence: /use one/,
    },
    {
      what: 'rules without a key',
      args: ['--jwt-audience', 'a'],
      sentence: /jwtAudience needs a key/,
    },
    {
      what: 'dev beyond loopback',
      args: ['--dev', '--host', '0.0.0.0', '--allow-unauthenticated'],
      sentence: /dev lets any page/,
    },
    {
      what: 'leases out of order',
      args: ['--lease-min', '9s', '--lease-max', '3s'],
      sentence: /rising/,
    },
    {
      what: 'a durability of nothing',
      args: ['--durability', 'relaxed'],
      sentence: /of a journal/,
    },
    { what: 'a proxy that is none', args: ['--trusted-proxy', 'x'], sentence: /trustedProxies/ },
  ]
  for (const { what, args = [], env = {}, config, sentence } of wrong) {
    it(`${what} is one sentence and exit code 78`, async () => {
      const file = config === undefined ? [] : ['--config', scratch(stage).write('c.json', config)]
      const { code, err, out } = await check([...args, ...file], env)
      expect(err).to.have.length(1)
      expect(err[0])
        .to.match(/^holdfast: /)
        .and.to.match(sentence)
      expect([code, out]).to.deep.equal([78, []])
    })
  }

  it('a port in use is one sentence and exit code 78', async () => {
    const { port } = await stage.broker()
    const { code, err } = await Holdfast.run(stage, ['serve', '--port', String(port)])
    expect(code).to.equal(78)
    expect(err).to.have.length(1)
    expect(err[0]).to.match(/^holdfast: Cannot listen on/)
  })

  it('a certificate that is none is one sentence and exit code 78', async () => {
    const file = scratch(stage).write('cert.pem', 'not a certificate')
    const { code, err } = await Holdfast.run(stage, ['serve', '--port', '0', ...tls(file)])
    expect([code, err.length]).to.deep.equal([78, 1])
    expect(err[0]).to.match(/PEM/)
  })
})

function tls(file: string): string[] {
  return ['--tls-cert', file, '--tls-key', file]
}

/** The variables that Kubernetes sets for the Service `holdfast…` with a named port. */
function linksOf(name: string): Record<string, string> {
  const prefix = `HOLDFAST${name}`
  return {
    [`${prefix}_SERVICE_HOST`]: '10.0.0.1',
    [`${prefix}_SERVICE_PORT`]: '7420',
    [`${prefix}_SERVICE_PORT_WS`]: '7420',
    [`${prefix}_PORT`]: 'tcp://10.0.0.1:7420',
    [`${prefix}_PORT_7420_TCP`]: 'tcp://10.0.0.1:7420',
    [`${prefix}_PORT_7420_TCP_PROTO`]: 'tcp',
    [`${prefix}_PORT_7420_TCP_PORT`]: '7420',
    [`${prefix}_PORT_7420_TCP_ADDR`]: '10.0.0.1',
    [`${prefix}_PORT_7420_UDP`]: 'udp://10.0.0.1:7420',
  }
}
