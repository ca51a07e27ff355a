#!/usr/bin/env node
/**
 * The entry point of the `holdfast` command: parses the command line, runs the command, and sets
 * the exit code.
 */
import { reportError, watchProcess } from './exitCodes.js'
import { createProgram } from './program.js'
import { restoreIgnoredSignals } from './run/launcher.js'

watchProcess()
// Node has stopped ignoring the signals that this process was started to ignore.
restoreIgnoredSignals()

try {
  const program = await createProgram(process.argv[2])
  await program.parseAsync()
} catch (error) {
  process.exitCode = reportError(error)
}
