/**
 * `holdfast ping`: shows whether a broker answers, and how fast. The command needs no permission
 * except to connect.
 */
import { redactUrl } from '@holdfast/shared'
import type { Command } from 'commander'
import { cellsFrom } from './cellList.js'
import { type BrokerFlags, brokerCommand, connectTo, urlsOf } from './connecting.js'
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
holdfast ping --cells 'wss://a.example;wss://b.example'  # a session in each cell`,
  )
    .option('-n, --count <n>', 'how many sessions', integerParser(1, 1_000_000), 4)
    .action((flags: PingFlags) => ping(flags))
}

async function ping(flags: PingFlags): Promise<void> {
  const cells = cellsFrom(flags)
  const times: number[] = []
  for (let pingNumber = 1; pingNumber <= flags.count; pingNumber++) {
    for (let cell = 1; cell <= (cells?.length ?? 1); cell++) {
      const url = redactUrl(urlsOf(flags, { cell })[0]!)
      const startedAt = performance.now()
      const session = await connectTo(flags, { cell })
      const ms = performance.now() - startedAt
      const { lease } = session
      await session.close()
      times.push(ms)
      const place = cells === undefined ? {} : { cell }
      if (flags.json) printJson({ url, ...place, n: pingNumber, ms: rounded(ms), lease })
      else print(`welcome from ${url}: ${rounded(ms)} ms, lease ${lease} ms`)
    }
  }
  if (flags.json) return
  const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length
  print(
    `min ${rounded(Math.min(...times))}, mean ${rounded(mean)}, max ${rounded(Math.max(...times))} ms`,
  )
}
