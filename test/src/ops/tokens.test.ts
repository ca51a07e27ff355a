/**
 * The authenticators that come with the broker: a file of hashed tokens, and JSON Web Tokens with
 * every way in which one can be wrong.
 */

import { rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  type Authenticate,
  HoldfastError,
  type Identity,
  type JwtOptions,
  jwtTokens,
  tokenLine,
  tokensFromFile,
} from '@holdfast/server'
import { expect } from 'chai'
import {
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWTPayload,
  SignJWT,
  UnsecuredJWT,
} from 'jose'
import { Stage } from '../e2e/stage.js'
import { scratch } from './scratch.js'

async function shown(authenticate: Authenticate, token: string | undefined) {
  return (await authenticate({ token, origin: undefined, remoteAddress: undefined })) as
    | Identity
    | undefined
}

describe('tokens in a file', () => {
  const stage = Stage.forEachTest()

  it('let in whoever they belong to, with what their line allows', async () => {
    const text = [
      '# the tokens of the team',
      '',
      tokenLine('t-billing', 'billing', ['lock', 'query'], ['orders:*', 'report']),
      tokenLine('t-ops', 'ops').replace(/ \S+ \*\n$/, ' all\n'),
    ].join('\n')
    const tokens = tokensFromFile(scratch(stage).write('tokens', text))
    const billing = await shown(tokens, 't-billing')
    expect(billing?.principal).to.equal('billing')
    expect(billing?.may?.('lock', 'orders:1')).to.equal(true)
    expect(billing?.may?.('watch', 'orders:1')).to.equal(false)
    const ops = await shown(tokens, 't-ops')
    expect(ops?.may?.('revoke', 'orders:1')).to.equal(true)
  })

  it('let nobody in with another token, with none, or with what the file says', async () => {
    const line = tokenLine('right', 'ann')
    const tokens = tokensFromFile(scratch(stage).write('tokens', line))
    for (const token of ['wrong', '', undefined, line.slice(0, 64)]) {
      expect(await shown(tokens, token)).to.equal(undefined)
    }
  })

  it('are read again when the file changes, and keep their last good state', async () => {
    const files = scratch(stage)
    const path = files.write('tokens', tokenLine('old', 'ann'))
    const faults: string[] = []
    const tokens = tokensFromFile(path, ({ message }) => faults.push(message))
    files.write('tokens', tokenLine('old', 'ann') + tokenLine('new', 'bob'))
    expect((await shown(tokens, 'new'))?.principal).to.equal('bob')
    files.write('tokens', tokenLine('new', 'bob'))
    expect(await shown(tokens, 'old')).to.equal(undefined)
    files.write('tokens', 'what is this?\n')
    expect((await shown(tokens, 'new'))?.principal).to.equal('bob')
    rmSync(path)
    expect((await shown(tokens, 'new'))?.principal).to.equal('bob')
    expect(faults).to.have.length(2)
  })

  const bad: [string, RegExp][] = [
    ['plain-token ann', /Line 1 .* does not begin with a SHA-256/],
    [`${'0'.repeat(64)}`, /Line 1 .* whose the token is/],
    [`\n${'0'.repeat(64)} ann look *`, /Line 2 .* none of all, everyday, lock/],
  ]
  for (const [text, sentence] of bad) {
    it(`"${text.trim().slice(0, 16)}…" is refused in a sentence that does not repeat it`, () => {
      const path = scratch(stage).write('tokens', text)
      let message = ''
      try {
        tokensFromFile(path)
      } catch (error) {
        expect(error).to.be.instanceOf(HoldfastError).with.property('code', 'INVALID_OPTION')
        message = (error as Error).message
      }
      expect(message).to.match(sentence)
      expect(message).to.not.include('plain-token')
    })
  }

  const mistaken: [string, Parameters<typeof tokenLine>][] = [
    ['a key with a blank, whose rest would be a key', ['t', 'ann', ['lock'], ['orders: *']]],
    ['an empty key, which would be every key', ['t', 'ann', ['lock'], ['']]],
    ['no keys, which would be every key', ['t', 'ann', ['lock'], []]],
    ['no operations, which would be those of the next word', ['t', 'ann', [], ['all']]],
    ['a principal with a blank', ['t', 'ann all']],
    ['a principal with a line of its own', ['t', `ann\n${'0'.repeat(64)} eve all`]],
  ]
  for (const [what, args] of mistaken) {
    it(`have no line for ${what}`, () => {
      expect(() => tokenLine(...args))
        .to.throw(HoldfastError)
        .that.includes({ code: 'INVALID_OPTION' })
    })
  }

  it('that are not there are refused', () => {
    expect(() => tokensFromFile(scratch(stage).path('none'))).to.throw(
      HoldfastError,
      /cannot be read/,
    )
  })
})

describe('JSON Web Tokens', () => {
  const stage = Stage.forEachTest()
  const secret = 'a secret of thirty-two bytes, or more'
  let now: number
  let good: JWTPayload
  const sign = (payload: JWTPayload, alg = 'HS256', key: string = secret) =>
    new SignJWT(payload).setProtectedHeader({ alg }).sign(new TextEncoder().encode(key))

  before(() => {
    now = Math.floor(Date.now() / 1_000)
    good = { sub: 'ann', aud: 'holdfast', exp: now + 600 }
  })

  it('let in the subject, until they end, with the grants of their claim', async () => {
    const grants = [{ keys: ['orders:*'], allow: ['lock'] }]
    const ann = await shown(jwtTokens({ secret }), await sign({ ...good, holdfast: grants }))
    expect(ann).to.include({ principal: 'ann', expiresAt: (now + 600) * 1_000 + 5_000 })
    expect(ann?.may?.('lock', 'orders:1')).to.equal(true)
    expect(ann?.may?.('lock', 'others')).to.equal(false)
  })

  it('without that claim allow nothing, or what the option says', async () => {
    const token = await sign(good)
    expect((await shown(jwtTokens({ secret }), token))?.may?.('lock', 'k')).to.equal(false)
    const lenient = jwtTokens({ secret, grants: [{ keys: ['*'] }] })
    expect((await shown(lenient, token))?.may?.('lock', 'k')).to.equal(true)
  })

  const attacks: [string, () => Promise<string> | string, Partial<JwtOptions>?][] = [
    ['no token at all', () => 'not a token'],
    ['one without a signature (alg none)', () => new UnsecuredJWT(good).encode()],
    ['one whose signature was cut off', async () => (await sign(good)).replace(/[^.]+$/, '')],
    [
      'one signed with another secret',
      () => sign(good, 'HS256', 'another secret of thirty-two bytes'),
    ],
    ['one of another algorithm', () => sign(good, 'HS512')],
    ['one that has ended', () => sign({ ...good, exp: now - 60 })],
    ['one that is not yet good', () => sign({ ...good, nbf: now + 3_600 })],
    ['one for another audience', () => sign({ ...good, aud: 'elsewhere' })],
    ['one for no audience', () => sign({ sub: 'ann', exp: now + 600 })],
    [
      'one of another issuer',
      () => sign({ ...good, iss: 'https://evil.example' }),
      { issuer: 'us' },
    ],
    ['one that never ends', () => sign({ sub: 'ann', aud: 'holdfast' })],
    ['one of nobody', () => sign({ aud: 'holdfast', exp: now + 600 })],
    ['one whose subject is no text', () => sign({ ...good, sub: 7 as unknown as string })],
    ['one whose grants are none', () => sign({ ...good, holdfast: { keys: ['*'] } })],
    [
      'one that grants what there is not',
      () => sign({ ...good, holdfast: [{ keys: ['*'], allow: ['all'] }] }),
    ],
    ['one whose keys are no texts', () => sign({ ...good, holdfast: [{ keys: [{}] }] })],
  ]
  for (const [what, token, options] of attacks) {
    it(`refuse ${what}`, async () => {
      expect(await shown(jwtTokens({ secret, ...options }), await token())).to.equal(undefined)
    })
  }

  it('with a changed payload are refused', async () => {
    const [head, , signature] = (await sign(good)).split('.')
    const forged = Buffer.from(JSON.stringify({ ...good, sub: 'root' })).toString('base64url')
    const authenticate = jwtTokens({ secret })
    expect(await shown(authenticate, `${head}.${forged}.${signature}`)).to.equal(undefined)
  })

  for (const alg of ['RS256', 'ES256']) {
    it(`of ${alg} are checked with a public key, which is never taken for a secret`, async () => {
      const { publicKey, privateKey } = await generateKeyPair(alg)
      const pem = await exportSPKI(publicKey)
      const token = await new SignJWT(good).setProtectedHeader({ alg }).sign(privateKey)
      const authenticate = jwtTokens({ publicKey: pem, algorithms: [alg] })
      expect((await shown(authenticate, token))?.principal).to.equal('ann')
      expect(await shown(authenticate, await sign(good, 'HS256', pem))).to.equal(undefined)
      const other = await generateKeyPair(alg)
      const forged = await new SignJWT(good).setProtectedHeader({ alg }).sign(other.privateKey)
      expect(await shown(authenticate, forged)).to.equal(undefined)
    })
  }

  it('are checked with the key of a set that they name, which may be fetched', async () => {
    const [one, two] = await Promise.all([generateKeyPair('RS256'), generateKeyPair('ES256')])
    const keys = [
      { ...(await exportJWK(one.publicKey)), kid: 'one', alg: 'RS256' },
      { ...(await exportJWK(two.publicKey)), kid: 'two', alg: 'ES256' },
    ]
    const token = await new SignJWT(good)
      .setProtectedHeader({ alg: 'ES256', kid: 'two' })
      .sign(two.privateKey)
    expect((await shown(jwtTokens({ jwks: { keys } }), token))?.principal).to.equal('ann')
    const server = createServer((_, response) => response.end(JSON.stringify({ keys })))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    stage.onClear(() => server.close())
    const jwksUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
    expect((await shown(jwtTokens({ jwksUrl }), token))?.principal).to.equal('ann')
    const mixed = await new SignJWT(good)
      .setProtectedHeader({ alg: 'RS256', kid: 'two' })
      .sign(one.privateKey)
    expect(await shown(jwtTokens({ jwksUrl }), mixed)).to.equal(undefined)
  })

  it('are "not now" while the set cannot be had', async () => {
    const server = createServer((_, response) => response.writeHead(503).end())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const jwksUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
    const { privateKey } = await generateKeyPair('ES256')
    const token = await new SignJWT(good).setProtectedHeader({ alg: 'ES256' }).sign(privateKey)
    const authenticate = jwtTokens({ jwksUrl })
    const codeOf = () =>
      shown(authenticate, token).then(
        () => 'none',
        (error: HoldfastError) => error.code,
      )
    expect(await codeOf()).to.equal('UNAVAILABLE')
    await new Promise((resolve) => server.close(resolve))
    expect(await codeOf()).to.equal('UNAVAILABLE')
  })

  const contradictions: [JwtOptions, RegExp][] = [
    [{}, /one of secret, publicKey, jwks and jwksUrl/],
    [{ secret, jwksUrl: 'https://x.example' }, /one of secret/],
    [{ secret: 'short' }, /at least 32 bytes/],
    [{ secret, algorithms: ['RS256'] }, /HS256, HS384, HS512/],
    [{ secret, algorithms: ['none'] }, /algorithms/],
    [{ jwks: { keys: [] }, algorithms: ['HS256'] }, /algorithms/],
    [{ jwks: {} as { keys: [] } }, /set of keys/],
    [{ jwks: { keys: ['x'] as unknown as object[] } }, /set of keys/],
    [{ jwks: null as unknown as { keys: [] } }, /set of keys/],
    [{ publicKey: 'x', algorithms: ['RS256'] }, /PEM/],
    [{ publicKey: '-----BEGIN PUBLIC KEY-----' }, /exactly one/],
    [{ jwksUrl: 'http://keys.example/jwks' }, /https/],
    [{ jwksUrl: 'https://user:secret@keys.example' }, /^(?!.*secret).*user name/],
  ]
  for (const [options, sentence] of contradictions) {
    it(`cannot be set up with ${JSON.stringify(options).slice(0, 60)}`, () => {
      expect(() => jwtTokens(options)).to.throw(HoldfastError, sentence)
    })
  }
})
