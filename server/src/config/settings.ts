/**
 * The settings of a broker: its options with every default filled in. `options.ts` makes the
 * settings from the options of the operator, and the layers below `createBroker` read the settings.
 */
import type { BlockList } from 'node:net'
import { type Cell, HoldfastError } from '@holdfast/shared'
import type { BrokerLimits } from './limits.js'
import type { Authenticate, Authorize } from './permissions.js'

/**
 * Bounds and default of the session lease, in ms. The lease is how long a session lives without a
 * message of its client.
 */
export interface LeaseBounds {
  readonly min: number
  readonly max: number
  readonly default: number
}

/** A certificate and its key: the contents of their files, in PEM format. */
export interface TlsFiles {
  readonly cert: string | Buffer
  readonly key: string | Buffer
  readonly passphrase?: string | undefined
}

/**
 * The settings of one broker. `options.ts` explains the options that have no comment here.
 */
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
  /**
   * True: the broker serves the dashboard to every client. False: to no client. Undefined: only to
   * browsers on this machine.
   */
  readonly dashboard: boolean | undefined
  readonly lease: LeaseBounds
  readonly limits: BrokerLimits
  /** The cell (a fixed part of all keys) that the broker serves; undefined for all keys. */
  readonly cell: Cell | undefined
  /**
   * For this time after its start, in ms, the broker grants only requests that steal a lock. Other
   * requests wait, because clients may still use locks that the broker lost in a restart. 0: the
   * broker grants all requests from its start.
   */
  readonly quietStart: number
}

/**
 * Makes the error for an invalid option.
 *
 * @param message Names the option, the rule and the value: "x must be …, not …".
 */
export function invalidOption(message: string): HoldfastError {
  return new HoldfastError('INVALID_OPTION', message)
}
