/**
 * `holdfast ping`: does a broker answer, and how fast. Needs no permission but to come in.
 */
import { redactUrl } from '@holdfast/shared'
import type { Command } from 'commander'
import { type BrokerFlags, brokerCommand, connectTo, urlsFrom } from './connecting.js'
import { integerIn } from './parse.js'
import { print, printJson, rounded } from './print.js'

interface PingFlags extends BrokerFlags {
  readonly count: number
}

export function pingCommand(): Command {
  return brokerCommand(
    'ping',
    'open sessions one after the other, and say how long each took',
    `holdfast ping
holdfast ping --url wss://locks.example --count 10`,
  )
    .option('-n, --count <n>', 'how many', integerIn(1, 1_000_000), 4)
    .action((flags: PingFlags) => ping(flags))
}

async function ping(flags: PingFlags): Promise<void> {
  const url = redactUrl(urlsFrom(flags)[0]!)
  const times: number[] = []
  for (let n = 1; n <= flags.count; n++) {
    const began = performance.now()
    const session = await connectTo(flags)
    const ms = performance.now() - began
    const { lease } = session
    await session.close()
    times.push(ms)
    if (flags.json) printJson({ url, n, ms: rounded(ms), lease })
    else print(`welcome from ${url}: ${rounded(ms)} ms, lease ${lease} ms`)
  }
  if (flags.json) return
  const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length
  print(
    `least ${rounded(Math.min(...times))}, mean ${rounded(mean)}, most ${rounded(Math.max(...times))} ms`,
  )
}
