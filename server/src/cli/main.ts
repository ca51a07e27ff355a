#!/usr/bin/env node
/**
 * The `holdfast` command. Exit codes: 0 done, 64 wrong usage, 69 not available, 74 the log
 * cannot be written, 78 a setting that
 * cannot be (as in sysexits.h).
 */
import { readFileSync } from 'node:fs'
import { HoldfastError } from '@holdfast/shared'
import { Command, CommanderError } from 'commander'
import { serveCommand } from './serve.js'

const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string }

const program = new Command('holdfast')
  .description('A lock broker: sessions own locks, and whoever waits is pushed the grant.')
  .version(version)
  .exitOverride()
  .showHelpAfterError('(try --help)')
  .addCommand(serveCommand())

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = exitCodeFor(error)
}

function exitCodeFor(error: unknown): number {
  // Commander has already printed its own.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 64
  if (error instanceof HoldfastError) {
    process.stderr.write(`holdfast: ${error.message}\n`)
    return error.code === 'UNAVAILABLE' ? 69 : 78
  }
  throw error
}
