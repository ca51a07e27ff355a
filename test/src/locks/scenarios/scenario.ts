/** A scenario: actions, and the log that they must leave on every platform. */
import type { Script } from '../script.js'

export interface Scenario {
  readonly title: string
  run(script: Script): Promise<void>
  readonly log: readonly string[]
  /** Whether the lines between two rests may come in any order. */
  readonly anyOrder?: boolean
  /**
   * If Chromium's own locks do not follow the specification: the log that they leave, and why.
   */
  readonly chromium?: { readonly log: readonly string[]; readonly why: string }
}
