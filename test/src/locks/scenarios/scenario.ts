/** What a scenario is: something to do, and the log that it must leave wherever it is run. */
import type { Script } from '../script.js'

export interface Scenario {
  readonly title: string
  run(script: Script): Promise<void>
  readonly log: readonly string[]
  /** What comes between two rests may come in any order. */
  readonly anyOrder?: boolean
  /**
   * Where Chromium's own locks do not follow the specification: the log that they leave, and why.
   */
  readonly chromium?: { readonly log: readonly string[]; readonly why: string }
}
