#!/usr/bin/env node
/**
 * The `holdfast` command: serves a broker, runs commands under locks, and looks after both.
 */
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { benchCommand } from './bench.js'
import { exitHelp, reportError, watchProcess } from './exits.js'
import { lsCommand, showCommand, statsCommand, watchCommand } from './inspect.js'
import { pingCommand } from './ping.js'
import { runCommand } from './run.js'
import { serveCommand } from './serve.js'
import { statusCommand } from './status.js'
import { tokenCommand } from './token.js'
import { topCommand } from './top.js'
import { unlockCommand } from './unlock.js'

const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string }

const program = new Command('holdfast')
  .description('A lock broker: sessions own locks, and whoever waits is pushed the grant.')
  .version(version)
  .addHelpText('after', exitHelp)

const commands = [
  ...[serveCommand(), runCommand()],
  ...[lsCommand(), showCommand(), watchCommand(), topCommand(), statsCommand()],
  ...[unlockCommand(), tokenCommand(), pingCommand(), statusCommand(), benchCommand()],
]
for (const command of commands) program.addCommand(command)
for (const command of [program, ...commands]) {
  command.exitOverride().showHelpAfterError('(try --help)')
}

watchProcess()

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = reportError(error)
}
