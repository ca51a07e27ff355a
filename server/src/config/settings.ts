/**
 * The settings of a broker: its options with every default filled in. `options.ts` makes them from
 * the options of the operator, and the layers below `createBroker` read them.
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

/** A certificate with its key, in PEM format. */
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
  /** Host names, in lower case. */
  readonly hosts: ReadonlySet<string>
  readonly trustedProxies: BlockList | undefined
  readonly tls: TlsFiles | undefined
  readonly origins: ReadonlySet<string>
  readonly dev: boolean
  /** Undefined: the broker serves the dashboard only to this machine. */
  readonly dashboard: boolean | undefined
  readonly lease: LeaseBounds
  readonly limits: BrokerLimits
  /** Length of the quiet start, in ms; 0 for none. */
  readonly quietStart: number
}

/** The error for an invalid option. @param rule What the option must be, and what it is not. */
export function invalid(rule: string): HoldfastError {
  return new HoldfastError('INVALID_OPTION', rule)
}
