/**
 * The settings of `holdfast serve`: one table of what there is, from which come the flags, the
 * `HOLDFAST_*` variables and the keys of the config file.
 */
import { defaultPort } from '@holdfast/shared'
import { type BrokerLimits, limitNames } from '../access/limits.js'

type Kind = 'text' | 'number' | 'ms' | 'yes' | 'list' | 'limits'

export interface Setting {
  readonly kind: Kind
  readonly help: string
  /** Where the flag is not the name. */
  readonly flag?: string | undefined
  readonly short?: string | undefined
  readonly choices?: readonly string[] | undefined
}

/** Every setting, by its key in a config file. */
export const settings = {
  port: { kind: 'number', short: '-p', help: 'port to listen on; 0 for any that is free' },
  host: { kind: 'text', short: '-H', help: 'address to listen on' },
  drain: { kind: 'ms', help: 'time for holders to finish when stopping' },
  fenceFile: {
    kind: 'text',
    help: 'reserve fences on disk, so that they rise whatever the clock does',
  },
  journal: { kind: 'text', help: 'a folder for a journal, so that locks outlive a restart' },
  durability: {
    kind: 'text',
    help: 'of the journal: on the disk, or with the system',
    choices: ['flushed', 'relaxed'],
  },
  log: { kind: 'text', help: 'a log shared with other brokers: etcd://host:port,host:port/prefix' },
  deadTime: {
    kind: 'ms',
    help: 'silence after which a broker that shares the log is taken for dead',
  },
  logCa: { kind: 'text', help: 'who vouches for the certificate of etcd, in PEM' },
  logCert: { kind: 'text', help: 'a certificate for etcd, in PEM' },
  logKey: { kind: 'text', help: 'the key of that certificate, in PEM' },
  logUser: { kind: 'text', help: 'a user of etcd' },
  logPasswordFile: { kind: 'text', help: 'the file with the password of that user' },
  quietStart: { kind: 'ms', help: 'grant nothing at first, until leases from before are over' },
  tokens: { kind: 'text', help: 'a file of hashed tokens; holdfast token adds to it' },
  jwtSecretFile: { kind: 'text', help: 'JSON Web Tokens, checked with the secret in this file' },
  jwtPublicKey: { kind: 'text', help: 'JSON Web Tokens, checked with the key in this PEM file' },
  jwtJwks: { kind: 'text', help: 'JSON Web Tokens, checked with the keys in this JWKS file' },
  jwtJwksUrl: { kind: 'text', help: 'JSON Web Tokens, checked with the JWKS at this address' },
  jwtAlgorithms: { kind: 'list', flag: 'jwt-algorithm', help: 'an algorithm that is accepted' },
  jwtAudience: { kind: 'text', help: 'the audience of every token' },
  jwtIssuer: { kind: 'text', help: 'the issuer of every token' },
  allowUnauthenticated: {
    kind: 'yes',
    help: 'serve beyond loopback although nobody is asked who they are',
  },
  allowInsecure: { kind: 'yes', help: 'take tokens where others on the network can read them' },
  tlsCert: { kind: 'text', help: 'a certificate in PEM: serve wss' },
  tlsKey: { kind: 'text', help: 'the key of the certificate, in PEM' },
  origins: { kind: 'list', flag: 'origin', help: 'a web origin whose pages may connect' },
  hosts: {
    kind: 'list',
    flag: 'allow-host',
    help: 'a host name by which the broker may be called',
  },
  trustedProxies: {
    kind: 'list',
    flag: 'trusted-proxy',
    help: 'a proxy whose X-Forwarded-For is believed',
  },
  dev: { kind: 'yes', help: 'let pages from loopback origins connect' },
  dashboard: {
    kind: 'text',
    help: 'to whom the dashboard is served: browsers on this machine, all who reach it, nobody',
    choices: ['local', 'all', 'none'],
  },
  profile: { kind: 'text', help: 'which defaults the limits have', choices: ['private', 'public'] },
  limits: { kind: 'limits', flag: 'limit', help: `a limit, one of: ${limitNames.join(', ')}` },
  leaseMin: { kind: 'ms', help: 'the shortest lease of a session' },
  leaseMax: { kind: 'ms', help: 'the longest lease of a session' },
  leaseDefault: { kind: 'ms', help: 'the lease of a session that does not ask for one' },
  metrics: { kind: 'yes', help: 'serve /metrics, to this machine or on the admin port' },
  adminPort: {
    kind: 'number',
    help: 'serve /metrics, /status, /healthz and /readyz on a port of their own',
  },
  adminHost: { kind: 'text', help: 'address of the admin port' },
  logLevel: {
    kind: 'text',
    help: 'which lines are logged, as JSON on standard error',
    choices: ['debug', 'info', 'warn', 'error', 'silent'],
  },
} as const satisfies Record<string, Setting>

export type SettingName = keyof typeof settings
export const settingNames = Object.keys(settings) as SettingName[]

interface Types {
  text: string
  number: number
  ms: number
  yes: boolean
  list: readonly string[]
  limits: Partial<BrokerLimits>
}

/** What is set; the rest is as the broker has it. */
export type Settings = { [N in SettingName]?: Types[(typeof settings)[N]['kind']] } & {
  port: number
  host: string
  drain: number
  logLevel: string
}

export const defaults: Settings = {
  port: defaultPort,
  host: '127.0.0.1',
  drain: 10_000,
  logLevel: 'warn',
}

export function flagOf(name: SettingName): string {
  return (settings[name] as Setting).flag ?? name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)
}

/** `fenceFile` as `HOLDFAST_FENCE_FILE`. */
export function variableOf(name: string): string {
  return `HOLDFAST_${name.replace(/[A-Z]/g, (c) => `_${c}`).toUpperCase()}`
}
