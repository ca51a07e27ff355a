/**
 * Tests the settings of `holdfast serve`, which come from flags, variables of the environment and a
 * config file. For an invalid setting the command prints one message and exits 78. The lease is how
 * long the broker keeps a silent session. A journal is a log on disk of all changes of the lock
 * table.
 */
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { Holdfast } from './command.js'
import { makeScratchFolder } from './scratch.js'

describe('the settings of holdfast serve', () => {
  const stage = Stage.forEachTest()

  const check = async (args: string[], env: Record<string, string> = {}) =>
    Holdfast.run(stage, ['serve', '--check', ...args], { env })

  it('come from flags first, then from variables, then from the file', async () => {
    const file = makeScratchFolder(stage).write(
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
    // The time 2.01s is a test of rounding: in floating point, 2.01 * 1000 is less than 2010.
    const flags = ['--port', '3', '--limit', 'helloMs=300', '--quiet-start', '2.01s']
    const { code, out } = await check(flags, {
      HOLDFAST_CONFIG: file,
      HOLDFAST_PORT: '2',
      HOLDFAST_HOST: '127.0.0.1',
      HOLDFAST_DEV: 'true',
      HOLDFAST_ORIGINS: 'https://b.example, https://c.example',
    })
    expect(code).to.equal(0)
    // The limits of the flag and the file are merged. The output names only the flag.
    const limits = { helloMs: 300, locksPerSession: 5, messagesPerSecond: 'off' }
    for (const line of [
      'holdfast uses port 3 from a flag',
      'holdfast uses quietStart 2010ms from a flag',
      'holdfast uses host 127.0.0.1 from HOLDFAST_HOST',
      `holdfast uses drain 5s from ${file}`,
      `holdfast uses limits ${JSON.stringify(limits)} from a flag`,
      'holdfast uses origins ["https://b.example","https://c.example"] from HOLDFAST_ORIGINS',
      'holdfast uses dev true from HOLDFAST_DEV',
      `holdfast uses profile public from ${file}`,
      'holdfast uses logLevel warn from default',
    ]) {
      expect(out).to.include(line)
    }
  })

  it('are printed at the start of the broker if they come from variables or the file', async () => {
    const options = { env: { HOLDFAST_PORT: '0', HOLDFAST_LIMITS: 'helloMs=100' } }
    const serve = Holdfast.start(stage, ['serve', '--drain', '1s'], options)
    await serve.out.waitForCount(3)
    expect(serve.out.items[0]).to.match(/^holdfast is listening on ws:/)
    expect(serve.out.items.slice(1, 3)).to.deep.equal([
      'holdfast uses port 0 from HOLDFAST_PORT',
      'holdfast uses limits {"helloMs":100} from HOLDFAST_LIMITS',
    ])
    serve.process.kill('SIGTERM')
    expect((await serve.ended()).code).to.equal(0)
  })

  it('ignore the variables that Kubernetes sets for a Service of any name', async () => {
    // Some Services, such as `holdfast-log`, have variables that begin like settings of Holdfast.
    const suffixes = ['', '_0', '_A', '_LOG', '_ADMIN', '_HOST', '_PORT', '_URL', '_DEV', '_TOKENS']
    const { code, out } = await check([], Object.assign({}, ...suffixes.map(variablesOfService)))
    expect(code).to.equal(0)
    expect(out).to.include('holdfast uses port 7420 from default')
    expect(out.filter((line) => !line.endsWith('from default'))).to.deep.equal([])
  })

  it('accept ports from variables beside the variables of Kubernetes, but refuse a mistyped variable', async () => {
    const serviceVariables = variablesOfService('_0')
    const { out } = await check([], {
      ...serviceVariables,
      HOLDFAST_PORT: '7000',
      HOLDFAST_ADMIN_PORT: '7001',
    })
    expect(out).to.include('holdfast uses port 7000 from HOLDFAST_PORT')
    expect(out).to.include('holdfast uses adminPort 7001 from HOLDFAST_ADMIN_PORT')
    const mistyped = await check([], { ...serviceVariables, HOLDFAST_PROT: '7000' })
    expect(mistyped.code).to.equal(78)
    expect(mistyped.err[0]).to.include('did you mean HOLDFAST_PORT?')
  })

  it('ignore variables that begin with HOLDFAST_ but belong to other programs', async () => {
    const { code } = await check([], { HOLDFAST_FULL: '1', HOLDFAST_SEED: '2', HOLDFAST_HOME: '/' })
    expect(code).to.equal(0)
  })

  it('let the broker serve metrics and health on the admin port', async () => {
    const args = ['serve', '--port', '0', '--metrics', '--admin-port', '0']
    const serve = Holdfast.start(stage, args)
    const [, line] = await serve.out.waitForCount(2)
    const url = /http:\S+/.exec(line!)![0]
    expect(await (await fetch(`${url}/metrics`)).text()).to.include('holdfast_sessions 0')
    expect((await fetch(`${url}/readyz`)).status).to.equal(200)
  })

  it('set the level of the log lines, which are JSON on standard error', async () => {
    const serve = Holdfast.start(stage, ['serve', '--port', '0', '--log-level', 'info'])
    const [line] = await serve.out.waitForCount(1)
    const url = line!.split(' ').at(-1)!
    await Holdfast.run(stage, ['ping', '--count', '1', '--url', url])
    const [logged] = await serve.err.waitForCount(1)
    expect(JSON.parse(logged!)).to.include({ msg: 'Session ended', reason: 'goodbye' })
  })

  interface InvalidSetting {
    readonly problem: string
    readonly args?: string[]
    readonly env?: Record<string, string>
    /** The text of the config file. */
    readonly config?: string
    readonly pattern: RegExp
  }
  const invalidSettings: InvalidSetting[] = [
    {
      problem: 'a misspelt key',
      config: '{"prot":1}',
      pattern: /"prot" in .* did you mean port\?$/,
    },
    {
      problem: 'an unknown key',
      config: '{"zzz":1}',
      pattern: /"zzz" .* the settings are port, host/,
    },
    {
      problem: 'a misspelt limit',
      config: '{"limits":{"heloMs":1}}',
      pattern: /did you mean helloMs\?/,
    },
    {
      problem: 'a limit out of range',
      config: '{"limits":{"keyBytes":9999}}',
      pattern: /at most 512/,
    },
    {
      problem: 'a port that is no number',
      config: '{"port":"x"}',
      pattern: /port in .* whole number/,
    },
    { problem: 'an invalid time', config: '{"drain":"5 days"}', pattern: /drain in .* 10s/ },
    {
      problem: 'a value that is not one of the choices',
      config: '{"profile":"x"}',
      pattern: /private, public/,
    },
    { problem: 'a config file that is no object', config: '[]', pattern: /must be an object/ },
    { problem: 'a config file that is not JSON', config: '{', pattern: /is not JSON/ },
    {
      problem: 'a missing config file',
      args: ['--config', '/nonexistent'],
      pattern: /cannot be read/,
    },
    {
      problem: 'a misspelt variable',
      env: { HOLDFAST_HOTS: 'x' },
      pattern: /HOLDFAST_HOTS is not a setting: did you mean HOLDFAST_(HOST|HOSTS)\?$/,
    },
    {
      problem: 'an invalid value of a variable',
      env: { HOLDFAST_DEV: 'perhaps' },
      pattern: /true or false, not "perhaps"/,
    },
    // Every object has properties with these names, so a careless lookup would accept them.
    ...['constructor', '__proto__', 'toString'].map((text) => ({
      problem: `${text} as the value of a variable`,
      env: { HOLDFAST_DEV: text },
      pattern: new RegExp(`HOLDFAST_DEV must be true or false, not "${text}"$`),
    })),
    {
      problem: 'a missing token file',
      args: ['--tokens', '/nonexistent'],
      pattern:
        /token file \/nonexistent does not exist: make it with "holdfast token NAME --file \/nonexistent"/,
    },
    {
      problem: 'a missing certificate file',
      args: tls('/nonexistent'),
      pattern: /\/nonexistent cannot be read/,
    },
    {
      problem: 'a certificate without a key',
      args: ['--tls-cert', 'x'],
      pattern: /--tls-cert is set alone: set both --tls-cert FILE and --tls-key FILE$/,
    },
    {
      problem: 'two kinds of authentication',
      args: ['--tokens', 'a', '--jwt-jwks', 'b'],
      pattern: /--tokens and --jwt-jwks are both set: set only one/,
    },
    {
      problem: 'two kinds of JWT keys',
      args: ['--jwt-secret-file', 'a', '--jwt-jwks', 'b'],
      pattern: /--jwt-secret-file and --jwt-jwks are both set: set only one/,
    },
    {
      problem: 'JWT rules without a key',
      args: ['--jwt-audience', 'a'],
      pattern: /--jwt-audience needs a key: set --jwt-secret-file FILE, --jwt-public-key FILE, /,
    },
    {
      problem: '--dev on an address that other machines can reach',
      args: ['--dev', '--host', '0.0.0.0', '--allow-unauthenticated'],
      pattern: /--dev allows every page .*: set --origin ORIGIN instead of --dev$/,
    },
    {
      problem: 'a minimum lease above the maximum',
      args: ['--lease-min', '9s', '--lease-max', '3s'],
      pattern: /--lease-min, --lease-default and --lease-max must be in rising order/,
    },
    {
      problem: 'a durability without a journal',
      args: ['--durability', 'relaxed'],
      pattern: /--durability is set without --journal: set --journal FOLDER/,
    },
    {
      problem: 'an invalid proxy address',
      args: ['--trusted-proxy', 'x'],
      pattern: /--trusted-proxy must be addresses/,
    },
  ]
  for (const { problem, args = [], env = {}, config, pattern } of invalidSettings) {
    it(`are refused with one message and exit code 78: ${problem}`, async () => {
      const configFlags =
        config === undefined ? [] : ['--config', makeScratchFolder(stage).write('c.json', config)]
      const { code, err, out } = await check([...args, ...configFlags], env)
      expect(err).to.have.length(1)
      expect(err[0])
        .to.match(/^holdfast: /)
        .and.to.match(pattern)
      expect([code, out]).to.deep.equal([78, []])
    })
  }

  it('are refused with one message and exit code 78: a cell number above the number of cells', async () => {
    const { code, err } = await Holdfast.run(stage, ['serve', '--check', '--cell', '5/4'])
    expect([code, ...err]).to.deep.equal([
      78,
      'holdfast: --cell must be a number and a count from 1 to 1024, such as "1/4", not "5/4"',
    ])
  })

  it('are refused with one message and exit code 78: a port in use', async () => {
    const { port } = await stage.startBroker()
    const { code, err } = await Holdfast.run(stage, ['serve', '--port', String(port)])
    expect(code).to.equal(78)
    expect(err).to.have.length(1)
    expect(err[0]).to.match(/^holdfast: Cannot listen on/)
  })

  it('are refused with one message and exit code 78: an invalid certificate', async () => {
    const file = makeScratchFolder(stage).write('cert.pem', 'not a certificate')
    const { code, err } = await Holdfast.run(stage, ['serve', '--port', '0', ...tls(file)])
    expect([code, err.length]).to.deep.equal([78, 1])
    expect(err[0]).to.match(/PEM/)
  })
})

/** The flags for a certificate and a key in the same file. */
function tls(file: string): string[] {
  return ['--tls-cert', file, '--tls-key', file]
}

/**
 * The variables that Kubernetes sets for a Service with a named port.
 *
 * @param suffix What follows `HOLDFAST` in the variables: `_LOG` for the Service `holdfast-log`.
 */
function variablesOfService(suffix: string): Record<string, string> {
  const prefix = `HOLDFAST${suffix}`
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
