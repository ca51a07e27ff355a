/**
 * The settings of `holdfast serve`: one table of what there is, from which come the flags, the
 * `HOLDFAST_*` variables and the keys of the config file.
 */
import { defaultPort } from '@holdfast/shared'
import { type BrokerLimits, limitNames } from '../config/limits.js'

type Kind = 'text' | 'port' | 'ms' | 'yes' | 'list' | 'limits'

export interface Setting {
  readonly kind: Kind
  /** The heading it stands under in the help. */
  readonly group: string
  readonly help: string
  /** What stands for the value in the help; a `file` or `folder` is completed as one. */
  readonly value?: string | undefined
  /** Where the flag is not the name. */
  readonly flag?: string | undefined
  readonly short?: string | undefined
  readonly choices?: readonly string[] | undefined
}

/** Every setting, by its key in a config file, in the order and the groups of the help. */
export const settings = {
  port: {
    group: 'Listening',
    kind: 'port',
    short: '-p',
    help: 'port to listen on; 0 for any that is free',
  },
  host: {
    group: 'Listening',
    value: 'address',
    kind: 'text',
    short: '-H',
    help: 'address to listen on',
  },
  drain: {
    group: 'Listening',
    kind: 'ms',
    help: 'time for holders to finish when stopping',
  },
  journal: {
    group: 'Keeping locks over a restart',
    value: 'folder',
    kind: 'text',
    help: 'a folder for a journal, so that locks outlive a restart',
  },
  durability: {
    group: 'Keeping locks over a restart',
    value: 'how',
    kind: 'text',
    help: 'of the journal: on the disk, or with the system',
    choices: ['flushed', 'relaxed'],
  },
  fenceFile: {
    group: 'Keeping locks over a restart',
    value: 'file',
    kind: 'text',
    help: 'reserve fences on disk, so that they rise whatever the clock does',
  },
  quietStart: {
    group: 'Keeping locks over a restart',
    kind: 'ms',
    help: 'grant nothing at first, until leases from before are over',
  },
  log: {
    group: 'Sharing a log with other brokers',
    value: 'url',
    kind: 'text',
    help: 'a log shared with other brokers: etcd://host:port,host:port/prefix',
  },
  deadTime: {
    group: 'Sharing a log with other brokers',
    kind: 'ms',
    help: 'silence after which a broker that shares the log is taken for dead',
  },
  logCa: {
    group: 'Sharing a log with other brokers',
    value: 'file',
    kind: 'text',
    help: 'who vouches for the certificate of etcd, in PEM',
  },
  logCert: {
    group: 'Sharing a log with other brokers',
    value: 'file',
    kind: 'text',
    help: 'a certificate for etcd, in PEM',
  },
  logKey: {
    group: 'Sharing a log with other brokers',
    value: 'file',
    kind: 'text',
    help: 'the key of that certificate, in PEM',
  },
  logUser: {
    group: 'Sharing a log with other brokers',
    value: 'name',
    kind: 'text',
    help: 'a user of etcd',
  },
  logPasswordFile: {
    group: 'Sharing a log with other brokers',
    value: 'file',
    kind: 'text',
    help: 'the file with the password of that user',
  },
  tokens: {
    group: 'Clients and their tokens',
    value: 'file',
    kind: 'text',
    help: 'a file of hashed tokens; holdfast token adds to it',
  },
  jwtSecretFile: {
    group: 'Clients and their tokens',
    value: 'file',
    kind: 'text',
    help: 'JSON Web Tokens, checked with the secret in this file',
  },
  jwtPublicKey: {
    group: 'Clients and their tokens',
    value: 'file',
    kind: 'text',
    help: 'JSON Web Tokens, checked with the key in this PEM file',
  },
  jwtJwks: {
    group: 'Clients and their tokens',
    value: 'file',
    kind: 'text',
    help: 'JSON Web Tokens, checked with the keys in this JWKS file',
  },
  jwtJwksUrl: {
    group: 'Clients and their tokens',
    value: 'url',
    kind: 'text',
    help: 'JSON Web Tokens, checked with the JWKS at this address',
  },
  jwtAlgorithms: {
    group: 'Clients and their tokens',
    value: 'name',
    kind: 'list',
    flag: 'jwt-algorithm',
    help: 'an algorithm that is accepted',
  },
  jwtAudience: {
    group: 'Clients and their tokens',
    value: 'text',
    kind: 'text',
    help: 'the audience of every token',
  },
  jwtIssuer: {
    group: 'Clients and their tokens',
    value: 'text',
    kind: 'text',
    help: 'the issuer of every token',
  },
  allowUnauthenticated: {
    group: 'Clients and their tokens',
    kind: 'yes',
    help: 'serve beyond loopback although nobody is asked who they are',
  },
  allowInsecure: {
    group: 'Clients and their tokens',
    kind: 'yes',
    help: 'take tokens where others on the network can read them',
  },
  tlsCert: {
    group: 'TLS, web pages and proxies',
    value: 'file',
    kind: 'text',
    help: 'a certificate in PEM: serve wss',
  },
  tlsKey: {
    group: 'TLS, web pages and proxies',
    value: 'file',
    kind: 'text',
    help: 'the key of the certificate, in PEM',
  },
  hosts: {
    group: 'TLS, web pages and proxies',
    value: 'name',
    kind: 'list',
    flag: 'allow-host',
    help: 'a host name by which the broker may be called',
  },
  trustedProxies: {
    group: 'TLS, web pages and proxies',
    value: 'address',
    kind: 'list',
    flag: 'trusted-proxy',
    help: 'a proxy whose X-Forwarded-For is believed',
  },
  origins: {
    group: 'TLS, web pages and proxies',
    value: 'origin',
    kind: 'list',
    flag: 'origin',
    help: 'a web origin whose pages may connect',
  },
  dev: {
    group: 'TLS, web pages and proxies',
    kind: 'yes',
    help: 'let pages from loopback origins connect',
  },
  leaseMin: {
    group: 'Leases and limits',
    kind: 'ms',
    help: 'the shortest lease of a session',
  },
  leaseMax: {
    group: 'Leases and limits',
    kind: 'ms',
    help: 'the longest lease of a session',
  },
  leaseDefault: {
    group: 'Leases and limits',
    kind: 'ms',
    help: 'the lease of a session that does not ask for one',
  },
  profile: {
    group: 'Leases and limits',
    value: 'name',
    kind: 'text',
    help: 'which defaults the limits have',
    choices: ['private', 'public'],
  },
  limits: {
    group: 'Leases and limits',
    kind: 'limits',
    flag: 'limit',
    help: `a limit, one of: ${limitNames.join(', ')}`,
  },
  dashboard: {
    group: 'Seeing what it does',
    value: 'whom',
    kind: 'text',
    help: 'to whom the dashboard is served: browsers on this machine, all who reach it, nobody',
    choices: ['local', 'all', 'none'],
  },
  metrics: {
    group: 'Seeing what it does',
    kind: 'yes',
    help: 'serve /metrics, to this machine or on the admin port',
  },
  adminPort: {
    group: 'Seeing what it does',
    kind: 'port',
    help: 'serve /metrics, /status, /healthz and /readyz on a port of their own',
  },
  adminHost: {
    group: 'Seeing what it does',
    value: 'address',
    kind: 'text',
    help: 'address of the admin port',
  },
  logLevel: {
    group: 'Seeing what it does',
    value: 'level',
    kind: 'text',
    help: 'which lines are logged, as JSON on standard error',
    choices: ['debug', 'info', 'warn', 'error', 'silent'],
  },
} as const satisfies Record<string, Setting>

export type SettingName = keyof typeof settings
export const settingNames = Object.keys(settings) as SettingName[]

interface Types {
  text: string
  port: number
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
