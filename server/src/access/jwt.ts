/**
 * JSON Web Tokens, checked by `jose`: signature, algorithm, issuer, audience and time. What a token
 * allows is one of its claims.
 *
 *     { "sub": "billing", "aud": "holdfast", "exp": 1767225600,
 *       "holdfast": [{ "keys": ["orders:*"], "allow": ["lock", "query"] }] }
 */
import { HoldfastError, type OptionNames, refuseUnknownOptions } from '@holdfast/shared'
import type * as JoseModule from 'jose'
import type { CryptoKey, JSONWebKeySet, JWTPayload, JWTVerifyGetKey, JWTVerifyOptions } from 'jose'
import { isLoopback } from '../config/addresses.js'
import {
  type Authenticate,
  type Identity,
  isOperation,
  type PermissionRule,
  permissionsFrom,
} from '../config/permissions.js'
import { invalid } from '../config/settings.js'

/** Loaded by whoever uses tokens, since it takes a moment that others need not wait for. */
type Jose = typeof JoseModule

/** Algorithms with one key on both sides, and with a pair; a secret is never taken for a key. */
const symmetric = ['HS256', 'HS384', 'HS512']
const asymmetric = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA'],
]

/** Of `secret`, `publicKey`, `jwks` and `jwksUrl`, exactly one. */
export interface JwtOptions {
  /** For HS256 and its like; at least 32 bytes. */
  readonly secret?: string | undefined
  /** PEM of one public key (SPKI). Needs exactly one of `algorithms`. */
  readonly publicKey?: string | undefined
  /** A set of public keys. */
  readonly jwks?: { readonly keys: readonly object[] } | undefined
  /** Where the set is; https, or http on loopback. Fetched when needed, and kept for 10 minutes. */
  readonly jwksUrl?: string | undefined
  /** Which algorithms are accepted. Default HS256 with a secret, else RS256 and ES256. */
  readonly algorithms?: readonly string[] | undefined
  /** `aud` of every token. Default `holdfast`. */
  readonly audience?: string | undefined
  /** `iss` of every token. Default: not looked at. */
  readonly issuer?: string | undefined
  /** Which claim is the principal. Default `sub`. */
  readonly principal?: string | undefined
  /** Which claim has the grants. Default `holdfast`. */
  readonly claim?: string | undefined
  /** What a token without that claim may do. Default nothing. */
  readonly grants?: readonly PermissionRule[] | undefined
  /** How far the issuer's clock may be from this one's, in ms. Default 5,000. */
  readonly clockTolerance?: number | undefined
}

const known: OptionNames<JwtOptions> = {
  secret: 1,
  publicKey: 1,
  jwks: 1,
  jwksUrl: 1,
  algorithms: 1,
  audience: 1,
  issuer: 1,
  principal: 1,
  claim: 1,
  grants: 1,
  clockTolerance: 1,
}

/**
 * Lets in whoever shows a good token, for as long as it is good. A token must have an `exp`.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for options that contradict each other or do not exist.
 *   At an `authenticate`: `UNAVAILABLE` if the set of keys could not be fetched.
 */
export function jwtTokens(options: JwtOptions): Authenticate {
  refuseUnknownOptions('jwtTokens', options ?? null, known)
  checkGrants(options.grants)
  const { audience = 'holdfast', issuer, principal = 'sub', clockTolerance = 5_000 } = options
  const algorithms = [...algorithmsFor(options)]
  const keyFrom = keyFor(options, algorithms)
  const loading = import('jose').then((jose) => ({ jose, key: keyFrom(jose) }))
  const rules: JWTVerifyOptions = {
    algorithms,
    audience,
    clockTolerance: clockTolerance / 1_000,
    requiredClaims: ['exp', principal],
    ...(issuer === undefined ? {} : { issuer }),
  }
  return async ({ token }) => {
    if (token === undefined) return undefined
    const { jose, key } = await loading
    const payload = await verified(jose, token, key, rules)
    return payload && identityFrom(payload, options, principal, clockTolerance)
  }
}

type Key = Promise<CryptoKey> | Uint8Array | JWTVerifyGetKey

async function verified(
  { errors, jwtVerify }: Jose,
  token: string,
  key: Key,
  rules: JWTVerifyOptions,
): Promise<JWTPayload | undefined> {
  try {
    const { payload } =
      typeof key === 'function'
        ? await jwtVerify(token, key, rules)
        : await jwtVerify(token, await key, rules)
    return payload
  } catch (cause) {
    // Everything that is wrong with the token is a JOSE error; but so is a set that did not come.
    const isVerdict = cause instanceof errors.JOSEError && !(cause instanceof errors.JWKSTimeout)
    if (isVerdict && cause.code !== 'ERR_JOSE_GENERIC') return undefined
    throw new HoldfastError('UNAVAILABLE', 'The keys for tokens cannot be had.', { cause })
  }
}

function identityFrom(
  payload: JWTPayload,
  { claim = 'holdfast', grants }: JwtOptions,
  principalClaim: string,
  clockTolerance: number,
): Identity | undefined {
  const principal = payload[principalClaim]
  if (typeof principal !== 'string' || principal === '') return undefined
  const given = payload[claim] === undefined ? (grants ?? []) : grantsFrom(payload[claim])
  if (given === undefined) return undefined
  return {
    principal,
    expiresAt: payload.exp! * 1_000 + clockTolerance,
    may: permissionsFrom(given),
  }
}

/** A misspelt `allow` would grant what is allowed where nothing is said. */
function checkGrants(grants: readonly PermissionRule[] | undefined): void {
  if (grants === undefined) return
  if (grantsFrom(grants) === undefined) {
    throw invalid('jwt.grants are a list such as [{ keys: ["orders:*"], allow: ["lock"] }]')
  }
  for (const grant of grants) refuseUnknownOptions('jwt.grants', grant, { keys: 1, allow: 1 })
}

/** Undefined for what is no list of grants: a token that says something else says nothing. */
function grantsFrom(value: unknown): PermissionRule[] | undefined {
  if (!Array.isArray(value)) return undefined
  const grants: PermissionRule[] = []
  for (const item of value) {
    const { keys, allow } = (item ?? {}) as { keys?: unknown; allow?: unknown }
    const isList = Array.isArray(keys) && keys.every((key) => typeof key === 'string')
    if (!isList || (allow !== undefined && !(Array.isArray(allow) && allow.every(isOperation)))) {
      return undefined
    }
    grants.push(allow === undefined ? { keys } : { keys, allow })
  }
  return grants
}

function algorithmsFor({ secret, algorithms }: JwtOptions): readonly string[] {
  const known = secret === undefined ? asymmetric : symmetric
  const chosen = algorithms ?? (secret === undefined ? ['RS256', 'ES256'] : ['HS256'])
  const stranger = chosen.find((algorithm) => !known.includes(algorithm))
  if (stranger === undefined && chosen.length > 0) return chosen
  throw invalid(`jwt.algorithms are some of ${known.join(', ')}, with this kind of key`)
}

/** Checks the options now, and makes the key of them when there is something to make it with. */
function keyFor(options: JwtOptions, algorithms: readonly string[]): (jose: Jose) => Key {
  const { secret, publicKey, jwks, jwksUrl } = options
  const given = [secret, publicKey, jwks, jwksUrl].filter((one) => one !== undefined)
  if (given.length !== 1) throw invalid('jwt has one of secret, publicKey, jwks and jwksUrl')
  if (secret !== undefined) {
    const bytes = new TextEncoder().encode(secret)
    if (bytes.length < 32) throw invalid('jwt.secret has at least 32 bytes')
    return () => bytes
  }
  if (jwks !== undefined) {
    if (!isKeySet(jwks)) throw invalid('jwt.jwks is a set of keys, { keys: [...] }')
    return ({ createLocalJWKSet }) => createLocalJWKSet(jwks)
  }
  if (jwksUrl !== undefined) {
    const url = safeUrl(jwksUrl)
    return ({ createRemoteJWKSet }) => createRemoteJWKSet(url)
  }
  return onePublicKey(publicKey!, algorithms)
}

function isKeySet(value: { readonly keys: unknown } | null): value is JSONWebKeySet {
  const isKey = (key: unknown) => typeof key === 'object' && key !== null && !Array.isArray(key)
  return Array.isArray(value?.keys) && value.keys.every(isKey)
}

function onePublicKey(pem: string, algorithms: readonly string[]): (jose: Jose) => Key {
  const [algorithm, ...others] = algorithms as [string, ...string[]]
  if (others.length > 0) throw invalid('jwt.publicKey needs exactly one of jwt.algorithms')
  if (!pem.includes('BEGIN PUBLIC KEY')) throw invalid('jwt.publicKey is the PEM of a public key')
  return ({ importSPKI }) => {
    const key = importSPKI(pem, algorithm)
    // Whoever shows a token is told; until then it is nobody's rejection.
    key.catch(() => {})
    return key
  }
}

/** Keys that somebody on the way could exchange would let anybody in. */
function safeUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isSafe =
    url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(hostOf(url)))
  if (url === undefined || !isSafe) throw invalid('jwt.jwksUrl is https, or http on loopback')
  // `fetch` refuses such a URL, with an error that shows it.
  if (url.username + url.password !== '') {
    throw invalid('jwt.jwksUrl cannot have a user name or a password')
  }
  return url
}

/** Without the brackets of an IPv6 address. */
function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '')
}
