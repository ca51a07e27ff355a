#!/usr/bin/env node
/**
 * The `holdfast` command: serves a broker, runs commands under locks, and looks after both.
 */
import { reportError, watchProcess } from './exits.js'
import { createProgram } from './program.js'

watchProcess()

try {
  await createProgram().parseAsync()
} catch (error) {
  process.exitCode = reportError(error)
}
