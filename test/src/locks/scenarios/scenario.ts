/** A scenario of the Web Locks API: actions, and the log that these actions must leave. */
import type { Script } from '../script.js'

export interface Scenario {
  readonly title: string
  run(script: Script): Promise<void>
  readonly log: readonly string[]
  /** Whether the lines between two calls of `untilQuiet` may come in any order. */
  readonly anyOrder?: boolean
  /**
   * The log of `navigator.locks` in Chromium, and why this log differs from `log`. Absent if the
   * logs are equal.
   */
  readonly chromium?: { readonly log: readonly string[]; readonly why: string }
}
