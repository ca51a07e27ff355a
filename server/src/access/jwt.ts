/**
 * Authenticates clients by JSON Web Tokens. The package `jose` checks the signature, algorithm,
 * issuer, audience and time. One claim of the token lists the permissions of the client.
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
import { invalidOption } from '../config/settings.js'

/**
 * The module `jose`. Only {@link jwtTokens} loads the module, so that brokers that do not use JWTs
 * start faster.
 */
type Jose = typeof JoseModule

/** The algorithms for `secret`. */
const symmetricAlgorithms = ['HS256', 'HS384', 'HS512']
/** The shortest secret of each algorithm, in bytes (RFC 7518, section 3.2). */
const minSecretBytes: Readonly<Record<string, number>> = { HS256: 32, HS384: 48, HS512: 64 }
/**
 * The algorithms for public keys. None of them is symmetric: otherwise an attacker could sign
 * tokens with the public key as the secret.
 */
const asymmetricAlgorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA'],
]

/**
 * The options of {@link jwtTokens}. Exactly one of `secret`, `publicKey`, `jwks` and `jwksUrl` must
 * be set.
 */
export interface JwtOptions {
  /**
   * The shared secret: at least 32 bytes for HS256, 48 for HS384 and 64 for HS512. If several
   * algorithms are accepted, the secret must be long enough for each of them.
   */
  readonly secret?: string | undefined
  /** One public key as PEM (SPKI). `algorithms` must then have exactly one item. */
  readonly publicKey?: string | undefined
  /** A set of public keys (JWKS). */
  readonly jwks?: { readonly keys: readonly object[] } | undefined
  /**
   * The URL of a JWKS; https, or http on loopback. The broker fetches the set when a token needs
   * it, and keeps the set for 10 minutes.
   */
  readonly jwksUrl?: string | undefined
  /** The accepted algorithms. Default HS256 with a secret, otherwise RS256 and ES256. */
  readonly algorithms?: readonly string[] | undefined
  /** The `aud` that every token must have. Default `holdfast`. */
  readonly audience?: string | undefined
  /** The `iss` that every token must have. Default: any. */
  readonly issuer?: string | undefined
  /**
   * The name of the claim with the principal. The principal is the name by which permissions
   * identify the client. Default `sub`.
   */
  readonly principal?: string | undefined
  /** The name of the claim that has the permission rules. Default `holdfast`. */
  readonly claim?: string | undefined
  /**
   * The permission rules for a token that lacks the claim with rules (see `claim`). Default: no
   * rules, so such a token allows nothing.
   */
  readonly grants?: readonly PermissionRule[] | undefined
  /** The accepted difference between the clocks of issuer and broker, in ms. Default 5,000. */
  readonly clockTolerance?: number | undefined
}

/** The names of all options; the value 1 has no meaning. */
const jwtOptionNames: OptionNames<JwtOptions> = {
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
 * Makes an `authenticate` option that accepts clients with a valid token until the token expires.
 * Every token must have an `exp`.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for unknown options and for options that contradict each
 *   other. The returned function rejects with `UNAVAILABLE` if the keys could not be loaded.
 */
export function jwtTokens(options: JwtOptions): Authenticate {
  // `null` makes `refuseUnknownOptions` throw if the options are missing. It accepts `undefined`.
  refuseUnknownOptions('jwtTokens', options ?? null, jwtOptionNames)
  checkGrantsOption(options.grants)
  const {
    audience = 'holdfast',
    issuer,
    principal: principalClaim = 'sub',
    clockTolerance = 5_000,
  } = options
  const algorithms = [...algorithmsFor(options)]
  const loadKey = keyLoaderFor(options, algorithms)
  const joseAndKey = import('jose').then((jose) => ({ jose, key: loadKey(jose) }))
  const verifyOptions: JWTVerifyOptions = {
    algorithms,
    audience,
    // `jose` and the claim `exp` count in seconds.
    clockTolerance: clockTolerance / 1_000,
    requiredClaims: ['exp', principalClaim],
    ...(issuer === undefined ? {} : { issuer }),
  }
  return async ({ token }) => {
    if (token === undefined) return undefined
    const { jose, key } = await joseAndKey
    const payload = await verify(jose, token, key, verifyOptions)
    return payload && identityFrom(payload, options, principalClaim, clockTolerance)
  }
}

/** A public key that is being imported, the bytes of a secret, or a function that finds a key. */
type Key = Promise<CryptoKey> | Uint8Array | JWTVerifyGetKey

/** @returns The payload of the token; undefined if the token is invalid. */
async function verify(
  { errors, jwtVerify }: Jose,
  token: string,
  key: Key,
  options: JWTVerifyOptions,
): Promise<JWTPayload | undefined> {
  try {
    // `jwtVerify` has one overload for a function that finds the key, and another for a key.
    const { payload } =
      typeof key === 'function'
        ? await jwtVerify(token, key, options)
        : await jwtVerify(token, await key, options)
    return payload
  } catch (cause) {
    // `jose` reports an invalid token as a JOSEError. Some failed fetches of the JWKS are
    // JOSEErrors as well: a JWKSTimeout, or an error with the code ERR_JOSE_GENERIC.
    const isTokenInvalid =
      cause instanceof errors.JOSEError &&
      !(cause instanceof errors.JWKSTimeout) &&
      cause.code !== 'ERR_JOSE_GENERIC'
    if (isTokenInvalid) return undefined
    const message = 'Could not load the keys for tokens: check jwt.jwksUrl or jwt.publicKey'
    throw new HoldfastError('UNAVAILABLE', message, { cause })
  }
}

/** The identity that a payload names; undefined if the principal or the rules are not valid. */
function identityFrom(
  payload: JWTPayload,
  { claim: rulesClaim = 'holdfast', grants }: JwtOptions,
  principalClaim: string,
  clockTolerance: number,
): Identity | undefined {
  const principal = payload[principalClaim]
  if (typeof principal !== 'string' || principal === '') return undefined
  const claimedRules = payload[rulesClaim]
  const rules = claimedRules === undefined ? (grants ?? []) : rulesFrom(claimedRules)
  if (rules === undefined) return undefined
  return {
    principal,
    // `jose` accepts the token until this time. The broker then closes the connection, unless the
    // client has sent a new token. `exp` is in s.
    expiresAt: payload.exp! * 1_000 + clockTolerance,
    may: permissionsFrom(rules),
  }
}

/**
 * Checks the option `grants`. Refuses a rule with an unknown field, because a rule with a misspelt
 * `allow` would allow the default operations.
 */
function checkGrantsOption(grants: readonly PermissionRule[] | undefined): void {
  if (grants === undefined) return
  if (rulesFrom(grants) === undefined) {
    throw invalidOption(
      'jwt.grants must be a list such as [{ keys: ["orders:*"], allow: ["lock"] }]',
    )
  }
  for (const rule of grants) refuseUnknownOptions('jwt.grants', rule, { keys: 1, allow: 1 })
}

/** @returns The permission rules in `value`; undefined if `value` is not a list of valid rules. */
function rulesFrom(value: unknown): PermissionRule[] | undefined {
  if (!Array.isArray(value)) return undefined
  const rules: PermissionRule[] = []
  for (const rule of value) {
    const { keys, allow } = (rule ?? {}) as { keys?: unknown; allow?: unknown }
    const hasKeyList = Array.isArray(keys) && keys.every((key) => typeof key === 'string')
    const hasValidOperations =
      allow === undefined || (Array.isArray(allow) && allow.every(isOperation))
    if (!hasKeyList || !hasValidOperations) return undefined
    rules.push(allow === undefined ? { keys } : { keys, allow })
  }
  return rules
}

/**
 * The accepted algorithms, from the options or by default.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for an algorithm that does not suit the kind of key.
 */
function algorithmsFor({ secret, algorithms }: JwtOptions): readonly string[] {
  const supported = secret === undefined ? asymmetricAlgorithms : symmetricAlgorithms
  const chosen = algorithms ?? (secret === undefined ? ['RS256', 'ES256'] : ['HS256'])
  const unsupported = chosen.find((algorithm) => !supported.includes(algorithm))
  if (unsupported === undefined && chosen.length > 0) return chosen
  throw invalidOption(
    `jwt.algorithms must have one or more of ${supported.join(', ')} for this kind of key`,
  )
}

/**
 * Checks the options for the key.
 *
 * @returns A function that makes the key from the loaded module `jose`.
 */
function keyLoaderFor(options: JwtOptions, algorithms: readonly string[]): (jose: Jose) => Key {
  const { secret, publicKey, jwks, jwksUrl } = options
  const givenKeys = [secret, publicKey, jwks, jwksUrl].filter((option) => option !== undefined)
  if (givenKeys.length !== 1) {
    throw invalidOption('jwt must have exactly one of secret, publicKey, jwks and jwksUrl')
  }
  if (secret !== undefined) {
    const bytes = new TextEncoder().encode(secret)
    for (const algorithm of algorithms) {
      const minBytes = minSecretBytes[algorithm]!
      if (bytes.length < minBytes) {
        throw invalidOption(`jwt.secret must have at least ${minBytes} bytes for ${algorithm}`)
      }
    }
    return () => bytes
  }
  if (jwks !== undefined) {
    if (!isKeySet(jwks)) throw invalidOption('jwt.jwks must be a set of keys, { keys: [...] }')
    return ({ createLocalJWKSet }) => createLocalJWKSet(jwks)
  }
  if (jwksUrl !== undefined) {
    const url = safeUrl(jwksUrl)
    return ({ createRemoteJWKSet }) => createRemoteJWKSet(url)
  }
  return publicKeyLoaderFor(publicKey!, algorithms)
}

function isKeySet(value: { readonly keys: unknown } | null): value is JSONWebKeySet {
  const isObject = (key: unknown) => typeof key === 'object' && key !== null && !Array.isArray(key)
  return Array.isArray(value?.keys) && value.keys.every(isObject)
}

/** Like {@link keyLoaderFor}, for a public key as PEM. */
function publicKeyLoaderFor(pem: string, algorithms: readonly string[]): (jose: Jose) => Key {
  const [algorithm, ...others] = algorithms as [string, ...string[]]
  if (others.length > 0) {
    throw invalidOption('jwt.algorithms must have exactly one item if jwt.publicKey is set')
  }
  if (!pem.includes('BEGIN PUBLIC KEY')) {
    throw invalidOption('jwt.publicKey must be the PEM of a public key')
  }
  return ({ importSPKI }) => {
    const key = importSPKI(pem, algorithm)
    // If the import fails, `verify` reports the error. This handler only prevents an unhandled
    // rejection before `verify` runs.
    key.catch(() => {})
    return key
  }
}

/**
 * Accepts `https`. Accepts `http` only on loopback, because an attacker on the network could
 * replace keys that are fetched in plain text.
 */
function safeUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isSafe =
    url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(hostOf(url)))
  if (url === undefined || !isSafe) {
    throw invalidOption('jwt.jwksUrl must be an https URL, or an http URL on loopback')
  }
  // A URL with a password is refused here, because a later error of `fetch` would show the
  // password.
  if (url.username + url.password !== '') {
    throw invalidOption('jwt.jwksUrl must not have a user name or a password')
  }
  return url
}

/** The host of a URL, without the brackets of an IPv6 address. */
function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '')
}
