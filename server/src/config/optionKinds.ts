/**
 * Which options a broker has, and of what kind each is. A program in plain JavaScript has no
 * compiler: `{ authentcate }` would leave the broker open, and `{ allowUnauthenticated: 'false' }`
 * would as well.
 */
import { HoldfastError, leaseMs, type OptionNames, refuseUnknownOptions } from '@holdfast/shared'
import { limits } from './limits.js'
import type { BrokerOptions, TlsFiles } from './options.js'

/** What the broker calls of each observer; without one of them the first message would fail. */
const observing = ['onMessage', 'onEffect', 'onFlushed', 'onRefused'] as const

/** Of what kind a value must be; the words are those of the message. */
const kinds = {
  'a function': (value: unknown) => typeof value === 'function',
  'true or false': (value: unknown) => typeof value === 'boolean',
  'a list of texts': (value: unknown) =>
    Array.isArray(value) && value.every((item) => typeof item === 'string'),
  'a text that is not empty': (value: unknown) => typeof value === 'string' && value !== '',
  'an object with options': isObject,
  'true, or an integer of ms': (value: unknown) =>
    typeof value === 'boolean' || typeof value === 'number',
  'a log, such as journalLog() makes': has('start', 'submit', 'close'),
  'brokerMetrics()': has('text', ...observing),
  'a logger, such as pino() makes': has('debug', 'info', 'warn'),
  'an observer with the functions onMessage, onEffect, onFlushed and onRefused': has(...observing),
} as const

const brokerOptions: Readonly<Record<keyof BrokerOptions, keyof typeof kinds>> = {
  log: 'a log, such as journalLog() makes',
  authenticate: 'a function',
  authorize: 'a function',
  allowUnauthenticated: 'true or false',
  allowInsecure: 'true or false',
  hosts: 'a list of texts',
  tls: 'an object with options',
  metrics: 'brokerMetrics()',
  logger: 'a logger, such as pino() makes',
  observer: 'an observer with the functions onMessage, onEffect, onFlushed and onRefused',
  trustedProxies: 'a list of texts',
  origins: 'a list of texts',
  dev: 'true or false',
  dashboard: 'true or false',
  lease: 'an object with options',
  profile: 'a text that is not empty',
  limits: 'an object with options',
  quietStart: 'true, or an integer of ms',
  fenceFile: 'a text that is not empty',
}

const tlsOptions: OptionNames<TlsFiles> = { cert: 1, key: 1, passphrase: 1 }

/**
 * Refuses options that do not exist, and values of another kind than their option's.
 *
 * @throws {HoldfastError} `INVALID_OPTION` with the nearest name, or with the kind.
 */
export function checkBrokerOptions(options: BrokerOptions): void {
  refuseUnknownOptions('createBroker', options, brokerOptions)
  for (const [name, kind] of Object.entries(brokerOptions)) {
    const value: unknown = options[name as keyof BrokerOptions]
    if (value === undefined || kinds[kind](value)) continue
    throw new HoldfastError('INVALID_OPTION', `${name} must be ${kind}, not ${show(value)}`)
  }
  refuseUnknownOptions('lease', options.lease, leaseMs)
  refuseUnknownOptions('limits', options.limits, limits)
  refuseUnknownOptions('tls', options.tls, tlsOptions)
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Objects and functions that have these methods. */
function has(...names: readonly string[]) {
  return (value: unknown): boolean =>
    (typeof value === 'object' || typeof value === 'function') &&
    value !== null &&
    names.every((name) => typeof Reflect.get(value, name) === 'function')
}

/** A plain value as it is; of all else only its kind, since it may hold a secret. */
function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60))
  if (value === null || ['number', 'boolean', 'bigint'].includes(typeof value)) return `${value}`
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`
}
