/**
 * The largest rate of a log on etcd without a broker: appends commands, a fixed number under way,
 * and follows the log. Usage: `bareLogDriver.js ENDPOINTS NAME INFLIGHT`. Batches commands like a
 * broker.
 */
import { EtcdClient, EtcdEngine, nodeEnvironment } from '@holdfast/server/internal'

const [endpoints = '', name = '', inFlight = ''] = process.argv.slice(2)
const mostInEntry = 2_000

/** About as long as a command of a broker. */
const command = JSON.stringify({
  type: 'lock',
  ...{ session: 'V1StGXR8_Z5jdHi6B-myT', attach: 1, id: 12_345, key: 'bench:12:3' },
  ...{ mode: 'exclusive', at: 1_700_000_000_000 },
})

const members = { endpoints: endpoints.split(',') }
const client = new EtcdClient(members, nodeEnvironment.clock)
const engine = new EtcdEngine({ ...members, prefix: 'bare' }, nodeEnvironment)
await engine.open({ format: 2, deadMs: 6_000, cluster: '' })

let waiting = 0
let underWay = 0
let returned = 0
let isRunning = false
let isAppending = false
let onSettled = (): void => {}

engine.follow(0, {
  entry: (_, text) => {
    const { broker, commands } = JSON.parse(text) as { broker: string; commands: object[] }
    if (broker !== name) return
    returned += commands.length
    underWay -= commands.length
    if (isRunning) add(commands.length)
    else if (underWay === 0) onSettled()
  },
  compacted: () => process.exit(1),
  failed: (error) => {
    throw error
  },
})

function add(count: number): void {
  waiting += count
  underWay += count
  setImmediate(flush)
}

async function flush(): Promise<void> {
  if (isAppending || waiting === 0) return
  isAppending = true
  const count = Math.min(waiting, mostInEntry)
  waiting -= count
  const commands = Array.from({ length: count }, () => command)
  // Puts the text as it is, like the simplest program.
  await client.put(`bare/log/${name}`, `{"broker":"${name}","commands":[${commands.join()}]}`)
  isAppending = false
  void flush()
}

process.on('message', (word: 'go' | 'stop') => {
  if (word === 'go') {
    returned = 0
    isRunning = true
    add(Number(inFlight))
    return
  }
  isRunning = false
  const count = returned
  onSettled = () => process.send!(count)
})
process.on('disconnect', () => process.exit())
process.send!('ready')
