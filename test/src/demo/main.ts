/**
 * `npm run demo`: a broker and five workers, each in a process of its own, contend for three keys
 * in one terminal. One of them is killed while it holds a lock that others wait for. Ends by
 * itself.
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
  process.stderr.write('--seconds has to be a number from 1 to 3600\n')
  process.exit(64)
}

const children: ChildProcess[] = []
// Whatever ends us, nothing is left behind.
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})
// Whoever was reading has seen enough.
process.stdout.on('error', () => process.exit(0))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

/** `holdfast serve`, in a process of its own; resolves with where it listens. */
async function startBroker(): Promise<{ readonly url: string; readonly broker: ChildProcess }> {
  const command = fileURLToPath(new URL('./cli/main.js', import.meta.resolve('@holdfast/server')))
  const broker = spawn(process.execPath, [command, 'serve', '--port', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(broker)
  const [line] = (await once(createInterface(broker.stdout), 'line')) as [string]
  return { url: /ws:\S+/.exec(line)![0], broker }
}

const screen = new Screen(names, (line) => process.stdout.write(`${line}\n`))
const { url, broker } = await startBroker()
screen.say(
  `A broker at ${url}, process ${broker.pid}. ${names.length} workers, ${keys.length} keys.`,
)
screen.say(
  'Each worker asks once. Whoever has to wait is pushed the lock, first come first served.',
)
screen.say()

const session = await connect(url, { name: 'director' })
const director = new Director(session, screen, keys)
const workers = names.map((name) => {
  const path = fileURLToPath(new URL('./worker.js', import.meta.url))
  const worker = fork(path, [url, name], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  children.push(worker)
  return { name, worker, ready: once(worker, 'message') }
})
await Promise.all(workers.map(({ ready }) => ready))
screen.start()
for (const { name, worker } of workers) director.add(name, worker)

const pause = (share: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, seconds * share * 1_000))
await pause(0.4)
await Promise.all([director.killSomebody(), pause(0.6)])
await director.stop()

screen.say()
screen.say(await director.summary())
await session.close()
for (const child of children) {
  if (child.connected) child.disconnect()
}
broker.kill('SIGTERM')
await Promise.all(
  children.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'exit')),
)
