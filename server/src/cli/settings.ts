/**
 * The table of all settings of `holdfast serve`. The flags, the `HOLDFAST_*` variables and the keys
 * of the config file are generated from this table.
 */
import { defaultPort } from '@holdfast/shared'
import { type BrokerLimits, limitNames } from '../config/limits.js'

/**
 * How a value is parsed: `ms` is a duration, `list` a repeatable flag, and `limits` are pairs of a
 * name and a number. `port` is a whole number from 0 to 65,535, for a port or a number of brokers.
 */
type Kind = 'text' | 'port' | 'ms' | 'boolean' | 'list' | 'limits'

export interface Setting {
  readonly kind: Kind
  /** The heading over the flag in the help. */
  readonly group: string
  readonly help: string
  /**
   * Stands for the value in the help. With `file` or `folder`, the completion of the shell offers
   * files or folders.
   */
  readonly placeholder?: string | undefined
  /**
   * The name of the flag without the leading `--`. Given only if this name differs from the name of
   * the setting in kebab-case.
   */
  readonly flag?: string | undefined
  /** The flag of one letter, such as `-p`. */
  readonly short?: string | undefined
  /** The allowed values; undefined if every value of the kind is allowed. */
  readonly choices?: readonly string[] | undefined
  /**
   * Only for a file with a secret: what messages call the file, such as "password file". The
   * command warns if other users can access the file.
   */
  readonly secretFile?: string | undefined
}

/** Every setting by its key in the config file, in the order of the help. */
export const settings = {
  port: {
    group: 'Listening',
    kind: 'port',
    short: '-p',
    help: 'port to listen on; 0 for any free port',
  },
  host: {
    group: 'Listening',
    placeholder: 'address',
    kind: 'text',
    short: '-H',
    help: 'address to listen on',
  },
  drain: {
    group: 'Listening',
    kind: 'ms',
    help: 'how long a stopping broker waits for holders to unlock',
  },
  cell: {
    group: 'Listening',
    placeholder: 'n/count',
    kind: 'text',
    help: 'cell of this broker and number of cells, such as 1/4; default: all keys in one cell',
  },
  journal: {
    group: 'Keeping locks over a restart',
    placeholder: 'folder',
    kind: 'text',
    help: 'folder of the journal; with a journal, locks outlive a restart',
  },
  durability: {
    group: 'Keeping locks over a restart',
    placeholder: 'mode',
    kind: 'text',
    help: 'when a grant counts as written: on disk (flushed), or in the operating system (relaxed)',
    choices: ['flushed', 'relaxed'],
  },
  fenceFile: {
    group: 'Keeping locks over a restart',
    placeholder: 'file',
    kind: 'text',
    help: 'file to reserve fences in, so that they rise even if the clock is set back',
  },
  quietStart: {
    group: 'Keeping locks over a restart',
    kind: 'ms',
    help: 'time after the start in which only a steal gets a lock, so that old leases end first',
  },
  log: {
    group: 'Sharing a log with other brokers',
    placeholder: 'url',
    kind: 'text',
    help: 'address of the shared log: postgres://user@host/database or etcd://host:port/prefix',
  },
  deadTime: {
    group: 'Sharing a log with other brokers',
    kind: 'ms',
    help: 'silence after which the other brokers declare a broker dead',
  },
  brokers: {
    group: 'Sharing a log with other brokers',
    kind: 'port',
    placeholder: 'n',
    help: 'number of brokers; a new log serves no client until a majority of them has joined',
  },
  name: {
    group: 'Sharing a log with other brokers',
    kind: 'text',
    placeholder: 'name',
    help: 'name of this broker in status, metrics and log lines (default: a random id)',
  },
  snapshotEvery: {
    group: 'Sharing a log with other brokers',
    kind: 'ms',
    help: 'longest time between snapshots (default 10m); etcd must keep history for twice as long',
  },
  sharedEtcd: {
    group: 'Sharing a log with other brokers',
    kind: 'boolean',
    help: 'other programs use this etcd, so the broker does not compact it',
  },
  logCa: {
    group: 'Sharing a log with other brokers',
    placeholder: 'file',
    kind: 'text',
    help: 'CA certificate for PostgreSQL or etcd, in PEM',
  },
  logCert: {
    group: 'Sharing a log with other brokers',
    placeholder: 'file',
    kind: 'text',
    help: 'client certificate for PostgreSQL or etcd, in PEM',
  },
  logKey: {
    group: 'Sharing a log with other brokers',
    placeholder: 'file',
    kind: 'text',
    secretFile: 'private key',
    help: 'private key of that client certificate, in PEM',
  },
  logUser: {
    group: 'Sharing a log with other brokers',
    placeholder: 'name',
    kind: 'text',
    help: 'user name for PostgreSQL or etcd',
  },
  logPasswordFile: {
    group: 'Sharing a log with other brokers',
    placeholder: 'file',
    kind: 'text',
    secretFile: 'password file',
    help: 'file with the password of that user',
  },
  tokens: {
    group: 'Clients and their tokens',
    placeholder: 'file',
    kind: 'text',
    help: 'file of hashed tokens; "holdfast token" adds tokens to it',
  },
  jwtSecretFile: {
    group: 'Clients and their tokens',
    placeholder: 'file',
    kind: 'text',
    secretFile: 'secret file',
    help: 'accept JSON Web Tokens, checked with the secret in this file',
  },
  jwtPublicKey: {
    group: 'Clients and their tokens',
    placeholder: 'file',
    kind: 'text',
    help: 'accept JSON Web Tokens, checked with the key in this PEM file',
  },
  jwtJwks: {
    group: 'Clients and their tokens',
    placeholder: 'file',
    kind: 'text',
    help: 'accept JSON Web Tokens, checked with the keys in this JWKS file',
  },
  jwtJwksUrl: {
    group: 'Clients and their tokens',
    placeholder: 'url',
    kind: 'text',
    help: 'accept JSON Web Tokens, checked with the JWKS at this URL',
  },
  jwtAlgorithms: {
    group: 'Clients and their tokens',
    placeholder: 'name',
    kind: 'list',
    flag: 'jwt-algorithm',
    help: 'accepted algorithm of JSON Web Tokens',
  },
  jwtAudience: {
    group: 'Clients and their tokens',
    placeholder: 'text',
    kind: 'text',
    help: 'required audience of JSON Web Tokens',
  },
  jwtIssuer: {
    group: 'Clients and their tokens',
    placeholder: 'text',
    kind: 'text',
    help: 'required issuer of JSON Web Tokens',
  },
  allowUnauthenticated: {
    group: 'Clients and their tokens',
    kind: 'boolean',
    help: 'serve beyond loopback without checking who connects',
  },
  allowInsecure: {
    group: 'Clients and their tokens',
    kind: 'boolean',
    help: 'accept tokens over plain ws://, where others on the network can read them',
  },
  tlsCert: {
    group: 'TLS, web pages and proxies',
    placeholder: 'file',
    kind: 'text',
    help: 'certificate in PEM, to serve wss://',
  },
  tlsKey: {
    group: 'TLS, web pages and proxies',
    placeholder: 'file',
    kind: 'text',
    secretFile: 'private key',
    help: 'private key of the certificate, in PEM',
  },
  hosts: {
    group: 'TLS, web pages and proxies',
    placeholder: 'name',
    kind: 'list',
    flag: 'allow-host',
    help: 'host name that clients may use for the broker',
  },
  trustedProxies: {
    group: 'TLS, web pages and proxies',
    placeholder: 'address',
    kind: 'list',
    flag: 'trusted-proxy',
    help: 'address of a proxy whose X-Forwarded-For header is trusted',
  },
  origins: {
    group: 'TLS, web pages and proxies',
    placeholder: 'origin',
    kind: 'list',
    flag: 'origin',
    help: 'web origin whose pages may connect',
  },
  dev: {
    group: 'TLS, web pages and proxies',
    kind: 'boolean',
    help: 'allow pages from loopback origins to connect, for development',
  },
  leaseMin: {
    group: 'Leases and limits',
    kind: 'ms',
    help: 'shortest lease of a session',
  },
  leaseMax: {
    group: 'Leases and limits',
    kind: 'ms',
    help: 'longest lease of a session',
  },
  leaseDefault: {
    group: 'Leases and limits',
    kind: 'ms',
    help: 'lease of a session that asks for none',
  },
  profile: {
    group: 'Leases and limits',
    placeholder: 'name',
    kind: 'text',
    help: 'defaults of the limits: for your own clients (private) or untrusted clients (public)',
    choices: ['private', 'public'],
  },
  limits: {
    group: 'Leases and limits',
    kind: 'limits',
    flag: 'limit',
    help: `a limit: ${limitNames.join(', ')}`,
  },
  dashboard: {
    group: 'Monitoring',
    placeholder: 'clients',
    kind: 'text',
    help: 'serve the dashboard to browsers on this machine (local), to all clients, or to none',
    choices: ['local', 'all', 'none'],
  },
  metrics: {
    group: 'Monitoring',
    kind: 'boolean',
    help: 'serve /metrics on the admin port; without an admin port, to this machine only',
  },
  adminPort: {
    group: 'Monitoring',
    kind: 'port',
    help: 'serve /metrics, /status, /healthz and /readyz on this port',
  },
  adminHost: {
    group: 'Monitoring',
    placeholder: 'address',
    kind: 'text',
    help: 'address of the admin port (default 127.0.0.1)',
  },
  audit: {
    group: 'Monitoring',
    placeholder: 'file',
    kind: 'text',
    help: 'append to this file a line of JSON for each steal, revocation, refusal and token change',
  },
  logLevel: {
    group: 'Monitoring',
    placeholder: 'level',
    kind: 'text',
    help: 'lowest level of log lines to write, as JSON on standard error',
    choices: ['debug', 'info', 'warn', 'error', 'silent'],
  },
} as const satisfies Record<string, Setting>

export type SettingName = keyof typeof settings
export const settingNames = Object.keys(settings) as SettingName[]

interface ValueOfKind {
  text: string
  port: number
  ms: number
  boolean: boolean
  list: readonly string[]
  limits: Partial<BrokerLimits>
}

/**
 * Loaded settings. The settings in {@link defaults} always have a value. If any other setting is
 * undefined, the broker uses its own default.
 */
export type Settings = { [N in SettingName]?: ValueOfKind[(typeof settings)[N]['kind']] } & {
  port: number
  host: string
  drain: number
  logLevel: string
}

/** The settings that always have a value, with their defaults. */
export const defaults: Settings = {
  port: defaultPort,
  host: '127.0.0.1',
  drain: 10_000,
  logLevel: 'warn',
}

/** The name of the flag of a setting: `fence-file` for `fenceFile`. */
export function flagOf(name: SettingName): string {
  return (
    (settings[name] as Setting).flag ??
    name.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`)
  )
}

const defaultPlaceholders = { text: 'text', port: 'n', ms: 'time', list: 'text', limits: 'name=n' }

/** The placeholder for the value of a flag; undefined for a flag without a value. */
export function placeholderOf(name: SettingName): string | undefined {
  const { kind, placeholder }: Setting = settings[name]
  return kind === 'boolean' ? undefined : (placeholder ?? defaultPlaceholders[kind])
}

/** The name of the environment variable of a setting: `HOLDFAST_FENCE_FILE` for `fenceFile`. */
export function variableOf(name: string): string {
  return `HOLDFAST_${name.replace(/[A-Z]/g, (capital) => `_${capital}`).toUpperCase()}`
}
