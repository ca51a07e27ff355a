/**
 * Tests the authenticators of the package server: `tokensFromFile` accepts the tokens whose hashes
 * are in a file, and `jwtTokens` accepts JSON Web Tokens. The tests try every kind of invalid JSON
 * Web Token.
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
import { makeScratchFolder } from './scratch.js'

/** The identity of a client with this token. */
async function identityOf(authenticate: Authenticate, token: string | undefined) {
  return (await authenticate({ token, origin: undefined, remoteAddress: undefined })) as
    | Identity
    | undefined
}

describe('a token file', () => {
  const stage = Stage.forEachTest()

  it('gives a token its principal and its permissions', async () => {
    const text = [
      '# the tokens of the team',
      '',
      tokenLine('t-billing', 'billing', ['lock', 'query'], ['orders:*', 'report']),
      // Replaces the operations and the key `*` by `all`, which `tokenLine` never writes.
      tokenLine('t-ops', 'ops').replace(/ \S+ \*\n$/, ' all\n'),
    ].join('\n')
    const authenticate = tokensFromFile(makeScratchFolder(stage).write('tokens', text))
    const billing = await identityOf(authenticate, 't-billing')
    expect(billing?.principal).to.equal('billing')
    expect(billing?.may?.('lock', 'orders:1')).to.equal(true)
    expect(billing?.may?.('watch', 'orders:1')).to.equal(false)
    const ops = await identityOf(authenticate, 't-ops')
    expect(ops?.may?.('revoke', 'orders:1')).to.equal(true)
  })

  it('refuses an unknown token, a missing token, and the hash of a token', async () => {
    const line = tokenLine('right', 'ann')
    const authenticate = tokensFromFile(makeScratchFolder(stage).write('tokens', line))
    // A line begins with the SHA-256 of the token in 64 hexadecimal digits.
    for (const token of ['wrong', '', undefined, line.slice(0, 64)]) {
      expect(await identityOf(authenticate, token)).to.equal(undefined)
    }
  })

  it('is read again when it changes, and an invalid change leaves the tokens as they were', async () => {
    const files = makeScratchFolder(stage)
    const path = files.write('tokens', tokenLine('old', 'ann'))
    const faults: string[] = []
    const authenticate = tokensFromFile(path, ({ message }) => faults.push(message))
    files.write('tokens', tokenLine('old', 'ann') + tokenLine('new', 'bob'))
    expect((await identityOf(authenticate, 'new'))?.principal).to.equal('bob')
    files.write('tokens', tokenLine('new', 'bob'))
    expect(await identityOf(authenticate, 'old')).to.equal(undefined)
    files.write('tokens', 'what is this?\n')
    expect((await identityOf(authenticate, 'new'))?.principal).to.equal('bob')
    rmSync(path)
    expect((await identityOf(authenticate, 'new'))?.principal).to.equal('bob')
    // The file had an invalid line, and then it was missing.
    expect(faults).to.have.length(2)
  })

  const invalidFiles: [string, RegExp][] = [
    ['plain-token ann', /Line 1 .* does not begin with a SHA-256/],
    [`${'0'.repeat(64)}`, /Line 1 .* the owner of the token/],
    [`\n${'0'.repeat(64)} ann look *`, /Line 2 .* the valid names are all, everyday, lock/],
  ]
  for (const [text, pattern] of invalidFiles) {
    it(`is refused with ${pattern}, and the error shows no token`, () => {
      const path = makeScratchFolder(stage).write('tokens', text)
      let message = ''
      try {
        tokensFromFile(path)
      } catch (error) {
        expect(error).to.be.instanceOf(HoldfastError).with.property('code', 'INVALID_OPTION')
        message = (error as Error).message
      }
      expect(message).to.match(pattern)
      expect(message).to.not.include('plain-token')
    })
  }

  const invalidLines: [string, Parameters<typeof tokenLine>][] = [
    [
      'a key with a space, because the text after the space would be another key',
      ['t', 'ann', ['lock'], ['orders: *']],
    ],
    ['an empty key, which would be read as every key', ['t', 'ann', ['lock'], ['']]],
    ['no keys, which would be read as every key', ['t', 'ann', ['lock'], []]],
    [
      'the key `all` without operations, which would be read as all operations',
      ['t', 'ann', [], ['all']],
    ],
    ['a principal with a space', ['t', 'ann all']],
    ['a principal with a line feed', ['t', `ann\n${'0'.repeat(64)} eve all`]],
  ]
  for (const [problem, args] of invalidLines) {
    it(`cannot get a line with ${problem}`, () => {
      expect(() => tokenLine(...args))
        .to.throw(HoldfastError)
        .that.includes({ code: 'INVALID_OPTION' })
    })
  }

  it('is refused if it does not exist', () => {
    expect(() => tokensFromFile(makeScratchFolder(stage).path('missing'))).to.throw(
      HoldfastError,
      /missing does not exist/,
    )
  })
})

describe('JSON Web Tokens', () => {
  const stage = Stage.forEachTest()
  const secret = 'a secret of thirty-two bytes, or more'
  let nowSeconds: number
  let validPayload: JWTPayload
  const sign = (payload: JWTPayload, alg = 'HS256', key: string = secret) =>
    new SignJWT(payload).setProtectedHeader({ alg }).sign(new TextEncoder().encode(key))

  before(() => {
    nowSeconds = Math.floor(Date.now() / 1_000)
    validPayload = { sub: 'ann', aud: 'holdfast', exp: nowSeconds + 600 }
  })

  it('contain a principal (the subject), an expiry and permissions', async () => {
    const permissions = [{ keys: ['orders:*'], allow: ['lock'] }]
    const ann = await identityOf(
      jwtTokens({ secret }),
      await sign({ ...validPayload, holdfast: permissions }),
    )
    // The broker accepts a token for 5 s after its expiry, because clocks differ.
    expect(ann).to.include({ principal: 'ann', expiresAt: (nowSeconds + 600) * 1_000 + 5_000 })
    expect(ann?.may?.('lock', 'orders:1')).to.equal(true)
    expect(ann?.may?.('lock', 'others')).to.equal(false)
  })

  it('without permissions of their own have those of the option `grants`, or else none', async () => {
    const token = await sign(validPayload)
    expect((await identityOf(jwtTokens({ secret }), token))?.may?.('lock', 'k')).to.equal(false)
    const withGrants = jwtTokens({ secret, grants: [{ keys: ['*'] }] })
    expect((await identityOf(withGrants, token))?.may?.('lock', 'k')).to.equal(true)
  })

  const invalidTokens: [string, () => Promise<string> | string, Partial<JwtOptions>?][] = [
    ['a text that is no token', () => 'not a token'],
    ['a token without a signature (alg none)', () => new UnsecuredJWT(validPayload).encode()],
    [
      'a token whose signature was cut off',
      async () => (await sign(validPayload)).replace(/[^.]+$/, ''),
    ],
    [
      'a token signed with another secret',
      () => sign(validPayload, 'HS256', 'another secret of thirty-two bytes'),
    ],
    ['a token with another algorithm', () => sign(validPayload, 'HS512')],
    ['an expired token', () => sign({ ...validPayload, exp: nowSeconds - 60 })],
    ['a token that is not valid yet', () => sign({ ...validPayload, nbf: nowSeconds + 3_600 })],
    ['a token for another audience', () => sign({ ...validPayload, aud: 'elsewhere' })],
    ['a token without an audience', () => sign({ sub: 'ann', exp: nowSeconds + 600 })],
    [
      'a token of another issuer',
      () => sign({ ...validPayload, iss: 'https://evil.example' }),
      { issuer: 'us' },
    ],
    ['a token without an expiry', () => sign({ sub: 'ann', aud: 'holdfast' })],
    ['a token without a subject', () => sign({ aud: 'holdfast', exp: nowSeconds + 600 })],
    [
      'a token whose subject is not a text',
      () => sign({ ...validPayload, sub: 7 as unknown as string }),
    ],
    [
      'a token whose permissions are not a list',
      () => sign({ ...validPayload, holdfast: { keys: ['*'] } }),
    ],
    [
      // Only token files have the word `all`.
      'a token with an unknown operation',
      () => sign({ ...validPayload, holdfast: [{ keys: ['*'], allow: ['all'] }] }),
    ],
    [
      'a token whose keys are not texts',
      () => sign({ ...validPayload, holdfast: [{ keys: [{}] }] }),
    ],
  ]
  for (const [problem, token, options] of invalidTokens) {
    it(`are refused: ${problem}`, async () => {
      expect(await identityOf(jwtTokens({ secret, ...options }), await token())).to.equal(undefined)
    })
  }

  it('are refused with a changed payload', async () => {
    const [head, , signature] = (await sign(validPayload)).split('.')
    const forged = Buffer.from(JSON.stringify({ ...validPayload, sub: 'root' })).toString(
      'base64url',
    )
    const authenticate = jwtTokens({ secret })
    expect(await identityOf(authenticate, `${head}.${forged}.${signature}`)).to.equal(undefined)
  })

  for (const alg of ['RS256', 'ES256']) {
    it(`are checked with a public key of ${alg}, which is never used as a secret`, async () => {
      const { publicKey, privateKey } = await generateKeyPair(alg)
      const pem = await exportSPKI(publicKey)
      const token = await new SignJWT(validPayload).setProtectedHeader({ alg }).sign(privateKey)
      const authenticate = jwtTokens({ publicKey: pem, algorithms: [alg] })
      expect((await identityOf(authenticate, token))?.principal).to.equal('ann')
      expect(await identityOf(authenticate, await sign(validPayload, 'HS256', pem))).to.equal(
        undefined,
      )
      const other = await generateKeyPair(alg)
      const forged = await new SignJWT(validPayload)
        .setProtectedHeader({ alg })
        .sign(other.privateKey)
      expect(await identityOf(authenticate, forged)).to.equal(undefined)
    })
  }

  it('are checked with the key that their key id names, from a given set or a URL', async () => {
    const [rsaKeys, ecKeys] = await Promise.all([
      generateKeyPair('RS256'),
      generateKeyPair('ES256'),
    ])
    const keys = [
      { ...(await exportJWK(rsaKeys.publicKey)), kid: 'one', alg: 'RS256' },
      { ...(await exportJWK(ecKeys.publicKey)), kid: 'two', alg: 'ES256' },
    ]
    const token = await new SignJWT(validPayload)
      .setProtectedHeader({ alg: 'ES256', kid: 'two' })
      .sign(ecKeys.privateKey)
    expect((await identityOf(jwtTokens({ jwks: { keys } }), token))?.principal).to.equal('ann')
    const server = createServer((_, response) => response.end(JSON.stringify({ keys })))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    stage.onCleanUp(() => server.close())
    const jwksUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
    expect((await identityOf(jwtTokens({ jwksUrl }), token))?.principal).to.equal('ann')
    const withWrongKeyId = await new SignJWT(validPayload)
      .setProtectedHeader({ alg: 'RS256', kid: 'two' })
      .sign(rsaKeys.privateKey)
    expect(await identityOf(jwtTokens({ jwksUrl }), withWrongKeyId)).to.equal(undefined)
  })

  it('are refused with UNAVAILABLE while the set of keys cannot be fetched', async () => {
    const server = createServer((_, response) => response.writeHead(503).end())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const jwksUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
    const { privateKey } = await generateKeyPair('ES256')
    const token = await new SignJWT(validPayload)
      .setProtectedHeader({ alg: 'ES256' })
      .sign(privateKey)
    const authenticate = jwtTokens({ jwksUrl })
    const codeOf = () =>
      identityOf(authenticate, token).then(
        () => 'none',
        (error: HoldfastError) => error.code,
      )
    // The server answers with 503. Later no server listens.
    expect(await codeOf()).to.equal('UNAVAILABLE')
    await new Promise((resolve) => server.close(resolve))
    expect(await codeOf()).to.equal('UNAVAILABLE')
  })

  const invalidOptions: [JwtOptions, RegExp][] = [
    [{}, /one of secret, publicKey, jwks and jwksUrl/],
    [{ secret, jwksUrl: 'https://x.example' }, /one of secret/],
    [{ secret: 'short' }, /at least 32 bytes for HS256/],
    [{ secret: 'x'.repeat(47), algorithms: ['HS384'] }, /at least 48 bytes for HS384/],
    [{ secret: 'x'.repeat(63), algorithms: ['HS256', 'HS512'] }, /at least 64 bytes for HS512/],
    [{ secret, algorithms: ['RS256'] }, /HS256, HS384, HS512/],
    [{ secret, algorithms: ['none'] }, /algorithms/],
    [{ jwks: { keys: [] }, algorithms: ['HS256'] }, /algorithms/],
    [{ jwks: {} as { keys: [] } }, /set of keys/],
    [{ jwks: { keys: ['x'] as unknown as object[] } }, /set of keys/],
    [{ jwks: null as unknown as { keys: [] } }, /set of keys/],
    [{ publicKey: 'x', algorithms: ['RS256'] }, /PEM/],
    [{ publicKey: '-----BEGIN PUBLIC KEY-----' }, /exactly one item/],
    [{ jwksUrl: 'http://keys.example/jwks' }, /https/],
    // The message must not repeat the password.
    [{ jwksUrl: 'https://user:passw0rd@keys.example' }, /^(?!.*passw0rd).*user name/],
  ]
  for (const [options, pattern] of invalidOptions) {
    it(`cannot be configured with ${JSON.stringify(options).slice(0, 60)}`, () => {
      expect(() => jwtTokens(options)).to.throw(HoldfastError, pattern)
    })
  }
})
