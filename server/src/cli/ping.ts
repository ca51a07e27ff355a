/**
 * `holdfast ping`: shows whether a broker answers, and how fast. The command needs no permission
 * except to connect.
 */
import { redactUrl } from '@holdfast/shared'
import type { Command } from 'commander'
import { cellsFrom } from './cellList.js'
import { type BrokerFlags, brokerCommand, connectTo, urlsFrom } from './connecting.js'
import { Exit, reportError } from './exitCodes.js'
import { print, printJson, rounded } from './output.js'
import { integerParser } from './parse.js'

interface PingFlags extends BrokerFlags {
  readonly count: number
}

export function pingCommand(): Command {
  return brokerCommand(
    'ping',
    'open sessions one after the other, and print how long each handshake took',
    `holdfast ping
holdfast ping --url wss://locks.example --count 10
holdfast ping --url ws://127.0.0.1:7421,ws://127.0.0.1:7422   # every broker
holdfast ping --cells 'wss://a.example;wss://b.example'  # every cell`,
  )
    .option(
      '-n, --count <n>',
      'how many sessions to open at each broker or cell',
      integerParser(1, 1_000_000),
      4,
    )
    .action((flags: PingFlags) => ping(flags))
}

/**
 * What to ping: one broker, or one cell (a broker or cluster with its own part of the keys). For a
 * cell, a session opens at any of its brokers.
 */
interface Target {
  /** The flags of the command, with the URL of only this broker, or with all cells. */
  readonly flags: PingFlags
  /** The number of the cell to ping, counted from 1. Always 1 if no cells are given. */
  readonly cell: number
  /** The URL of the broker, or the URLs of the cell, for the output. */
  readonly shownUrl: string
}

/** Every cell, or every URL if no cells are given. */
function targetsOf(flags: PingFlags): readonly Target[] {
  const cells = cellsFrom(flags)
  if (cells === undefined) {
    return urlsFrom(flags).map((url) => ({
      flags: { ...flags, url: [url] },
      cell: 1,
      shownUrl: redactUrl(url),
    }))
  }
  return cells.map((urls, i) => ({
    flags,
    cell: i + 1,
    shownUrl: urls.map(redactUrl).join(','),
  }))
}

/**
 * Opens the sessions. With several URLs, the command continues after an error, and fails only if no
 * broker answers. With cells or one URL, the first error ends the command.
 */
async function ping(flags: PingFlags): Promise<void> {
  const hasCells = cellsFrom(flags) !== undefined
  const targets = targetsOf(flags)
  const times: number[] = []
  let firstErrorCode: number | undefined
  for (let pingNumber = 1; pingNumber <= flags.count; pingNumber++) {
    for (const target of targets) {
      const { cell, shownUrl: url } = target
      try {
        const { ms, lease } = await handshake(target)
        times.push(ms)
        const cellField = hasCells ? { cell } : {}
        if (flags.json) printJson({ url, ...cellField, n: pingNumber, ms: rounded(ms), lease })
        else print(`welcome from ${url}: ${rounded(ms)} ms, lease ${lease} ms`)
      } catch (error) {
        if (hasCells || targets.length === 1) throw error
        const code = reportError(error)
        firstErrorCode ??= code
      }
    }
  }
  // The message is empty, because every error is printed already.
  if (times.length === 0) throw new Exit(firstErrorCode!, '')
  if (flags.json) return
  const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length
  print(
    `min ${rounded(Math.min(...times))}, mean ${rounded(mean)}, max ${rounded(Math.max(...times))} ms`,
  )
}

/** Opens and closes a session. @returns How long the handshake took, and the lease, both in ms */
async function handshake({ flags, cell }: Target): Promise<{ ms: number; lease: number }> {
  const startedAt = performance.now()
  const session = await connectTo(flags, { cell })
  const ms = performance.now() - startedAt
  const { lease } = session
  await session.close()
  return { ms, lease }
}
