/** A scenario of the Web Locks API: actions, and the log that they must leave on every platform. */
import type { Script } from '../script.js'

export interface Scenario {
  readonly title: string
  run(script: Script): Promise<void>
  readonly log: readonly string[]
  /** Whether the lines between two calls of `untilQuiet` may come in any order. */
  readonly anyOrder?: boolean
  /**
   * The log of Chromium's own locks, and why it differs. Set only if these locks do not follow the
   * specification.
   */
  readonly chromium?: { readonly log: readonly string[]; readonly why: string }
}
