#!/usr/bin/env node
/**
 * The `holdfast` command: serves a broker, runs commands under locks, and looks after both.
 */
import { reportError, watchProcess } from './exitCodes.js'
import { createProgram } from './program.js'
import { ignoreAgain } from './run/launcher.js'

watchProcess()

ignoreAgain()

try {
  await createProgram().parseAsync()
} catch (error) {
  process.exitCode = reportError(error)
}
