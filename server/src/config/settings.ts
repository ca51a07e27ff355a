/**
 * The broker's settings: its options with every default filled in, as the layers below
 * `createBroker` read them. `options.ts` makes them from what the operator gave.
 */
import type { BlockList } from 'node:net'
import { HoldfastError } from '@holdfast/shared'
import type { BrokerLimits } from './limits.js'
import type { Authenticate, Authorize } from './permissions.js'

/** Bounds and default of the session lease, in ms. */
export interface LeaseBounds {
  readonly min: number
  readonly max: number
  readonly default: number
}

/** A certificate with its key, as PEM text or what Node takes for it. */
export interface TlsFiles {
  readonly cert: string | Buffer
  readonly key: string | Buffer
  readonly passphrase?: string | undefined
}

/** The options of a broker with every default filled in. */
export interface BrokerSettings {
  readonly authenticate: Authenticate | undefined
  readonly authorize: Authorize | undefined
  readonly allowUnauthenticated: boolean
  readonly allowInsecure: boolean
  /** In lower case. */
  readonly hosts: ReadonlySet<string>
  readonly trustedProxies: BlockList | undefined
  readonly tls: TlsFiles | undefined
  readonly origins: ReadonlySet<string>
  readonly dev: boolean
  /** Undefined: to this machine only. */
  readonly dashboard: boolean | undefined
  readonly lease: LeaseBounds
  readonly limits: BrokerLimits
  /** In ms; 0 for none. */
  readonly quietStart: number
}

/** @param rule What the option must be, as a sentence without a full stop. */
export function invalid(rule: string): HoldfastError {
  return new HoldfastError('INVALID_OPTION', `${rule}.`)
}
