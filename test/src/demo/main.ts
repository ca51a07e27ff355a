/**
 * `npm run demo`: starts a broker and five workers, each in a process of its own. The workers
 * contend for three keys, and the terminal shows the events. One worker is killed while it holds a
 * lock that other workers wait for. The demo ends by itself after 15 seconds, unless a flag sets
 * another time:
 *
 *   npm run demo -- --seconds 30
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { connect } from '@holdfast/client'
import { Director } from './director.js'
import { Screen } from './screen.js'

const names = ['ann', 'ben', 'cleo', 'dora', 'emil']
const keys = ['orders', 'printer', 'report']

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '15' } } })
const seconds = Number(values.seconds)
if (!(seconds >= 1 && seconds <= 3_600)) {
  process.stderr.write(`--seconds must be a number from 1 to 3600, not ${values.seconds}\n`)
  process.exit(64) // The exit code of `holdfast` for wrong usage.
}

const children: ChildProcess[] = []
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})
// Ends the demo when the reader of the output (such as `head`) closes the pipe.
process.stdout.on('error', () => process.exit(0))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

/** Starts `holdfast serve` in a process of its own. Resolves with the URL and the process. */
async function startBroker(): Promise<{ readonly url: string; readonly broker: ChildProcess }> {
  const command = fileURLToPath(new URL('./cli/main.js', import.meta.resolve('@holdfast/server')))
  const broker = spawn(process.execPath, [command, 'serve', '--port', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(broker)
  // The first line of the output has the URL.
  const [line] = (await once(createInterface(broker.stdout), 'line')) as [string]
  return { url: /ws:\S+/.exec(line)![0], broker }
}

const screen = new Screen(names, (line) => process.stdout.write(`${line}\n`))
const { url, broker } = await startBroker()
screen.printLine(
  `A broker at ${url}, process ${broker.pid}. ${names.length} workers, ${keys.length} keys.`,
)
screen.printLine(
  'The workers do not poll. The broker pushes each grant to the next waiter, in order.',
)
screen.printLine()

const session = await connect(url, { name: 'director' })
// The director gives jobs to the workers, kills one worker, and prints the events.
const director = new Director(session, screen, keys)
const workers = names.map((name) => {
  const path = fileURLToPath(new URL('./worker.js', import.meta.url))
  const worker = fork(path, [url, name], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  children.push(worker)
  // The first message of a worker is `ready`.
  return { name, worker, ready: once(worker, 'message') }
})
await Promise.all(workers.map(({ ready }) => ready))
screen.start()
for (const { name, worker } of workers) director.add(name, worker)

/** Waits for this share of the duration of the demo. */
const pause = (share: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, seconds * share * 1_000))
// The kill comes after 40 % of the time. The terminal shows the usual events before and after it.
await pause(0.4)
await Promise.all([director.killHolder(), pause(0.6)])
await director.stop()

screen.printLine()
screen.printLine(await director.summary())
await session.close()
// A worker closes its session and exits when this process disconnects the IPC channel. The broker
// has no such channel.
for (const child of children) {
  if (child.connected) child.disconnect()
}
broker.kill('SIGTERM')
await Promise.all(
  children.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'exit')),
)
