/**
 * Makes a folder for the files of a test, and removes it after the test.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Stage } from '../e2e/stage.js'

export interface ScratchFolder {
  /** The path of this name in the folder. The file need not exist. */
  path(name: string): string
  /** Writes a file that only the user of this process may access, and returns its path. */
  write(name: string, text: string): string
}

/** Each call makes another temporary folder. The stage removes the folder after the test. */
export function makeScratchFolder(stage: Stage): ScratchFolder {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-'))
  stage.onCleanUp(() => rmSync(folder, { recursive: true, force: true }))
  const path = (name: string) => join(folder, name)
  return {
    path,
    write: (name, text) => {
      writeFileSync(path(name), text, { mode: 0o600 })
      return path(name)
    },
  }
}
