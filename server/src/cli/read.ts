/** Reads the files that settings name, or says in one sentence why not. */
import { readFileSync } from 'node:fs'
import { Exit, exitCodes } from './exitCodes.js'

/** @throws {Exit} 78 if it cannot be read. */
export function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    throw new Exit(exitCodes.config, `The file ${path} cannot be read (${code}).`)
  }
}
