/**
 * Tests that every public function of the package server refuses unknown options and options of a
 * wrong type. In plain JavaScript, no compiler reports such options. The lease is the time that the
 * broker keeps a session without a message of its client. A journal is a command log on disk.
 */
import { createServer } from 'node:http'
import {
  createBroker,
  etcdLog,
  HoldfastError,
  journalLog,
  jwtTokens,
  tokenLine,
  tokensFromFile,
} from '@holdfast/server'
import { expect } from 'chai'

/** The code and message of the error that `act` throws or rejects with; `nothing` for no error. */
async function refusalOf(act: () => unknown): Promise<string> {
  try {
    await act()
  } catch (error) {
    if (error instanceof HoldfastError) return `${error.code} ${error.message}`
    throw error
  }
  return 'nothing'
}

// Each call below that uses these two fails, so they never listen and need no close.
const broker = createBroker()
const server = createServer()
/**
 * By name, each public function or option that takes an object with options. The values are a call
 * that passes such an object, and names of its options.
 */
const knownOptions: Record<string, [(options: never) => unknown, readonly string[]]> = {
  createBroker: [
    createBroker,
    [
      ...['log', 'authenticate', 'authorize', 'allowUnauthenticated', 'allowInsecure', 'hosts'],
      ...['tls', 'metrics', 'logger', 'observer', 'trustedProxies', 'origins', 'dev', 'dashboard'],
      ...['lease', 'profile', 'limits', 'quietStart', 'fenceFile', 'cell'],
    ],
  ],
  lease: [(lease) => createBroker({ lease }), ['min', 'max', 'default']],
  tls: [(tls) => createBroker({ tls }), ['cert', 'key', 'passphrase']],
  limits: [(limits) => createBroker({ limits }), ['helloMs', 'sessionsPerPrincipal', 'slowBytes']],
  journalLog: [journalLog, ['dir', 'durability', 'snapshotBytes', 'onSnapshot']],
  etcdLog: [
    etcdLog,
    [
      ...['endpoints', 'prefix', 'tls', 'auth', 'deadMs', 'cluster'],
      ...['snapshotEntries', 'snapshotCharacters', 'snapshotMs', 'sharedEtcd'],
      ...['brokers', 'name'],
    ],
  ],
  'tls of etcdLog': [
    (tls) => etcdLog({ endpoints: ['http://127.0.0.1:1'], prefix: 'p', tls }),
    ['ca', 'cert', 'key'],
  ],
  'auth of etcdLog': [
    (auth) => etcdLog({ endpoints: ['http://127.0.0.1:1'], prefix: 'p', auth }),
    ['user', 'password'],
  ],
  jwtTokens: [
    jwtTokens,
    [
      ...['secret', 'publicKey', 'jwks', 'jwksUrl', 'algorithms', 'audience', 'issuer'],
      ...['principal', 'claim', 'grants', 'clockTolerance'],
    ],
  ],
  listen: [(options) => broker.listen(options), ['port', 'host']],
  listenAdmin: [(options) => broker.listenAdmin(options), ['port', 'host']],
  attach: [(options) => broker.attach(server, options), ['path']],
  query: [(options) => broker.query(options), ['key', 'prefix', 'limit']],
  close: [(options) => broker.close(options), ['drain']],
}

describe('the public API of the server', () => {
  for (const [name, [call, options]] of Object.entries(knownOptions)) {
    it(`refuses misspelt options of ${name}, and suggests the right name`, async () => {
      for (const option of options) {
        // Even a short name with an `x` at its end is most similar to `option`.
        const refusal = await refusalOf(() => call({ [`${option}x`]: undefined } as never))
        const expected = `${name} has no option "${option}x": did you mean "${option}"?`
        expect(refusal).to.equal(`INVALID_OPTION ${expected}`)
      }
    })

    it(`refuses options of ${name} that are not an object`, async () => {
      for (const value of [null, 7420, '7420', []]) {
        const refusal = await refusalOf(() => call(value as never))
        expect(refusal).to.match(/^INVALID_OPTION .* (takes|must be) an object with options, not /)
      }
    })
  }

  const misspelt: [object, string][] = [
    [{ orgins: [] }, 'origins'],
    [{ fencefile: 'fences' }, 'fenceFile'],
    [{ authentcate: () => undefined }, 'authenticate'],
    [{ Authenticate: () => undefined }, 'authenticate'],
    [{ authenticated: () => undefined }, 'authenticate'],
    [{ authorise: () => true }, 'authorize'],
    [{ trustedProxy: ['10.0.0.1'] }, 'trustedProxies'],
    [{ allowUnauthenticate: true }, 'allowUnauthenticated'],
    [{ limit: {} }, 'limits'],
    [{ leases: {} }, 'lease'],
    [{ dashbord: false }, 'dashboard'],
  ]
  for (const [options, suggestion] of misspelt) {
    it(`refuses ${Object.keys(options)[0]}, and suggests ${suggestion}`, async () => {
      const refusal = await refusalOf(() => createBroker(options))
      expect(refusal).to.include(`did you mean "${suggestion}"?`)
    })
  }

  it('lists the options if no name is similar', async () => {
    const refusal = await refusalOf(() => createBroker({ verbosity: 3 } as object))
    expect(refusal).to.match(/^INVALID_OPTION createBroker has no option "verbosity": it has log, /)
  })

  const ofWrongType: [object, string][] = [
    [{ lease: 5 }, 'lease must be an object with options, not 5'],
    [{ authenticate: 'secret' }, 'authenticate must be a function, not "secret"'],
    [{ authenticate: null }, 'authenticate must be a function, not null'],
    [{ authorize: {} }, 'authorize must be a function, not a value of type object'],
    [{ allowUnauthenticated: 'false' }, 'allowUnauthenticated must be true or false, not "false"'],
    [{ allowInsecure: 0 }, 'allowInsecure must be true or false, not 0'],
    [{ dashboard: 'none' }, 'dashboard must be true or false, not "none"'],
    [{ origins: 'https://a.example' }, 'origins must be a list of texts, not "https://a.example"'],
    [{ hosts: ['a', 5] }, 'hosts must be a list of texts, not a list with 5'],
    [{ origins: [[]] }, 'origins must be a list of texts, not a list with a list'],
    [{ lease: [] }, 'lease must be an object with options, not a list'],
    [{ trustedProxies: '10.0.0.1' }, 'trustedProxies must be a list of texts, not "10.0.0.1"'],
    [{ fenceFile: '' }, 'fenceFile must be a text that is not empty, not ""'],
    [{ log: './journal' }, 'log must be a log, such as journalLog() makes, not "./journal"'],
    [
      { log: journalLog },
      'log must be a log, such as journalLog() makes, not a value of type function',
    ],
    [{ metrics: true }, 'metrics must be brokerMetrics(), not true'],
    [{ logger: true }, 'logger must be a logger, such as pino() makes, not true'],
    [
      { logger: { debug: () => {}, info: () => {}, warn: () => {} } },
      'logger must be a logger, such as pino() makes, not a value of type object',
    ],
    // An observer needs all four functions.
    ...[{}, { onRefused: () => {} }, { onMessage: () => {}, onEffect: () => {} }].map(
      (observer): [object, string] => [
        { observer },
        'observer must be an observer with the functions onMessage, onEffect, onFlushed and onRefused, ' +
          'not a value of type object',
      ],
    ),
    [
      { metrics: { text: () => '' } },
      'metrics must be brokerMetrics(), not a value of type object',
    ],
    [{ quietStart: '5s' }, 'quietStart must be true, or an integer of ms, not "5s"'],
  ]
  for (const [options, message] of ofWrongType) {
    it(`refuses ${JSON.stringify(options)}`, async () => {
      expect(await refusalOf(() => createBroker(options))).to.equal(`INVALID_OPTION ${message}`)
    })
  }

  it('refuses invalid permission rules in grants, which could allow more than intended', async () => {
    const refusalOfGrants = (...grants: object[]) =>
      refusalOf(() => jwtTokens({ secret: 'x'.repeat(32), grants: grants as never }))
    expect(await refusalOfGrants({ keys: ['a'], alow: ['query'] })).to.equal(
      'INVALID_OPTION jwt.grants has no option "alow": did you mean "allow"?',
    )
    for (const invalid of [{ key: ['a'] }, { keys: 'a' }, { keys: ['a'], allow: ['read'] }]) {
      expect(await refusalOfGrants(invalid)).to.match(
        /^INVALID_OPTION jwt\.grants must be a list such as/,
      )
    }
    expect(await refusalOfGrants({ keys: ['a'], allow: ['query'] })).to.equal('nothing')
  })

  it('refuses a port, a host and a server of a wrong type', async () => {
    const firstSentence = async (act: () => unknown) => (await refusalOf(act)).split('.')[0]
    const refusalOfListen = (where: object) => firstSentence(() => broker.listen(where))
    expect(await refusalOfListen({ port: '7420' })).to.match(
      /^INVALID_OPTION port must be an integer/,
    )
    expect(await refusalOfListen({ host: '' })).to.match(/^INVALID_OPTION host must be an address/)
    expect(await refusalOfListen({ host: null })).to.match(
      /^INVALID_OPTION host must be an address/,
    )
    const refusalOfAttach = (value: unknown) => firstSentence(() => broker.attach(value as never))
    for (const value of [undefined, null, 7420, {}, () => {}]) {
      expect(await refusalOfAttach(value)).to.equal(
        'INVALID_OPTION attach takes a server of node:http or node:https',
      )
    }
  })

  it('refuses invalid arguments of tokensFromFile and tokenLine', async () => {
    const invalidCalls: [() => unknown, string][] = [
      [() => tokensFromFile({ file: 'x' } as never), 'tokensFromFile takes the path of a file'],
      [() => tokensFromFile(''), 'tokensFromFile takes the path of a file, not an empty text'],
      [() => tokensFromFile('x', {} as never), 'onFault of tokensFromFile must be a function'],
      [() => tokenLine({} as never, 'ann'), 'tokenLine takes a token that is not empty'],
      [() => tokenLine('', 'ann'), 'tokenLine takes a token that is not empty, not an empty text'],
      [() => tokenLine('t', 'ann', 'lock' as never), 'allow of tokenLine must be a list of texts'],
      [() => tokenLine('t', 'ann', ['lok'] as never), 'tokenLine cannot allow "lok": operations'],
      [() => tokenLine('t', 'ann', ['lock'], 'a' as never), 'keys of tokenLine must be a list'],
      [() => tokenLine('t', undefined as never), 'A line of the token file must have a principal'],
    ]
    for (const [act, message] of invalidCalls) {
      expect(await refusalOf(act)).to.include(`INVALID_OPTION ${message}`)
    }
  })
})
