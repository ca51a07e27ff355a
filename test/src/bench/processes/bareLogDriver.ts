/**
 * Measures the largest rate of a command log on etcd without a broker. (The command log orders the
 * commands of brokers.) Like a broker, the program appends commands in batches, and then reads the
 * commands from the log.
 *
 * Usage: `bareLogDriver.js ENDPOINTS NAME INFLIGHT`. ENDPOINTS are the addresses of the etcd
 * members. Several drivers may share the log, each with its own NAME. INFLIGHT is the number of
 * commands that are always under way.
 */
import { EtcdClient, EtcdEngine, nodeEnvironment } from '@holdfast/server/internal'

const [endpoints = '', name = '', inFlight = ''] = process.argv.slice(2)
/** The largest number of commands in one entry of the log. */
const maxCommandsInEntry = 2_000

/** A command that is about as long as a command in the log of a broker. */
const command = JSON.stringify({
  type: 'lock',
  session: 'V1StGXR8_Z5jdHi6B-myT',
  attachEpoch: 1,
  id: 12_345,
  key: 'bench:12:3',
  mode: 'exclusive',
  at: 1_700_000_000_000,
})

// The client appends the entries, and the engine follows the log.
const etcdAddress = { endpoints: endpoints.split(',') }
const client = new EtcdClient(etcdAddress, nodeEnvironment.clock)
const engine = new EtcdEngine({ ...etcdAddress, prefix: 'bare' }, nodeEnvironment)
// The settings that all brokers of a log must share. Without brokers, any values are valid.
await engine.open({ format: 3, deadMs: 6_000, cluster: '' })

/** The number of commands that wait for the next entry. */
let waiting = 0
/** The number of commands, waiting or appended, that the log has not delivered yet. */
let underWay = 0
/** The number of commands that the log has delivered since `go`. */
let delivered = 0
/** Whether each delivered command is replaced by a new command. True from `go` to `stop`. */
let isRunning = false
let isAppending = false
/** Called once after `stop`, when the log has delivered all commands under way. */
let onSettled = (): void => {}

engine.follow(0, {
  entry: (_, text) => {
    const { broker, commands } = JSON.parse(text) as { broker: string; commands: object[] }
    // An entry of another driver.
    if (broker !== name) return
    delivered += commands.length
    underWay -= commands.length
    if (isRunning) add(commands.length)
    else if (underWay === 0) onSettled()
  },
  // Never called, because no process compacts this log.
  compacted: () => process.exit(1),
  failed: (error) => {
    throw error
  },
})

/** Lets this many new commands wait for the next entry. */
function add(count: number): void {
  waiting += count
  underWay += count
  setImmediate(flush)
}

/** Appends one entry with the waiting commands, unless an append is under way. */
async function flush(): Promise<void> {
  if (isAppending || waiting === 0) return
  isAppending = true
  const count = Math.min(waiting, maxCommandsInEntry)
  waiting -= count
  const commands = Array.from({ length: count }, () => command)
  // Each put of this key appends an entry.
  await client.put(`bare/log/${name}`, `{"broker":"${name}","commands":[${commands.join()}]}`)
  isAppending = false
  void flush()
}

process.on('message', (instruction: 'go' | 'stop') => {
  if (instruction === 'go') {
    delivered = 0
    isRunning = true
    add(Number(inFlight))
    return
  }
  isRunning = false
  // Commands that the log delivers after the stop do not count.
  const count = delivered
  onSettled = () => process.send!(count)
})
process.on('disconnect', () => process.exit())
process.send!('ready')
