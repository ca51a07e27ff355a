/**
 * Tests `npm start` as a user runs it. The command prints the URL of the broker. When npm gets a
 * signal, npm and all its child processes end. Also tests the arguments of `npm run demo:browser`.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { assert } from 'chai'
import { WebSocket } from 'ws'
import { npmCommand } from './npm.js'
import { root } from './repository.js'

/** The exit codes after a wrong setting, such as a port in use, and after a wrong option. */
const exitCodes = { config: 78, usage: 64 }
/** The code with which a WebSocket closes in the normal way. */
const normalClosure = 1000

interface StartedBroker {
  readonly npm: ChildProcess
  readonly url: string
  /** Resolves with the first line of output that contains this text. */
  lineWith(text: string): Promise<string>
  /** Resolves with the exit code of npm when npm and all its child processes have ended. */
  readonly ended: Promise<number | null>
}

/** The processes of npm that the tests started, each the leader of a process group. */
const processes: ChildProcess[] = []

/** Runs `npm start` on a free port, and resolves when the broker listens. */
async function start(): Promise<StartedBroker> {
  const { command, args, env } = npmCommand('start', '--', '--port', '0')
  const stdio = ['ignore', 'pipe', 'inherit'] as const
  const child = spawn(command, args, { cwd: root, env, stdio: [...stdio], detached: true })
  processes.push(child)
  const ended = once(child, 'close').then(([code]) => code as number | null)
  const lines: string[] = []
  const reader = createInterface(child.stdout).on('line', (line) => lines.push(line))
  const lineWith = async (text: string): Promise<string> => {
    for (;;) {
      const line = lines.find((candidate) => candidate.includes(text))
      if (line !== undefined) return line
      const next = await Promise.race([once(reader, 'line'), ended])
      // `ended` resolves with an exit code, not with a list.
      if (!Array.isArray(next)) {
        throw new Error(`npm start ended without "${text}":\n${lines.join('\n')}`)
      }
    }
  }
  const url = /ws:\S+/.exec(await lineWith('listening on'))?.[0] ?? ''
  return { npm: child, url, lineWith, ended }
}

/**
 * Connects a client that holds a lock, so that a draining broker waits for the client. `until`
 * resolves when the client has received a message of this type.
 */
async function holder(
  url: string,
): Promise<{ socket: WebSocket; until(type: string): Promise<void> }> {
  const socket = new WebSocket(url, 'holdfast.v1')
  const receivedTypes = new Set<string>()
  const closed = new AbortController()
  socket.once('close', (code) => {
    closed.abort(new Error(`the broker closed the connection with code ${code}`))
  })
  const until = async (type: string): Promise<void> => {
    while (!receivedTypes.has(type)) {
      const [data] = await once(socket, 'message', { signal: closed.signal })
      // A frame has one message or a list of messages.
      for (const message of [JSON.parse(String(data))].flat()) receivedTypes.add(message.type)
    }
  }
  await once(socket, 'open')
  socket.send(JSON.stringify({ type: 'hello' }))
  await until('welcome')
  socket.send(JSON.stringify({ type: 'lock', id: 1, key: 'house' }))
  await until('granted')
  return { socket, until }
}

describe('npm start', () => {
  // A broker that a failed test leaves running would keep stderr of the test run open for ever.
  afterEach(() => {
    for (const { pid, exitCode, signalCode } of processes.splice(0)) {
      // The negative id names the process group.
      if (exitCode === null && signalCode === null) process.kill(-pid!, 'SIGKILL')
    }
  })

  it('serves, and at SIGTERM drains and exits 0', async () => {
    const started = await start()
    const { socket, until } = await holder(started.url)
    started.npm.kill('SIGTERM')
    await until('draining')
    socket.send(JSON.stringify({ type: 'bye' }))
    const [code] = await once(socket, 'close')
    assert.equal(code, normalClosure)
    assert.equal(await started.ended, 0)
  })

  it('exits 78 before the build if another program uses the port', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const port = String((server.address() as AddressInfo).port)
    const { command, args, env } = npmCommand('start')
    const result = spawnSync(command, args, {
      cwd: root,
      env: { ...env, HOLDFAST_PORT: port },
      encoding: 'utf8',
    })
    server.close()
    assert.equal(result.status, exitCodes.config)
    const problem = `Cannot listen on 127.0.0.1:${port}: another program is using the port`
    assert.include(result.stderr, `holdfast: ${problem}, perhaps another Holdfast broker: stop`)
    assert.include(result.stderr, 'npm start -- --port N')
  })

  it('exits 0 at SIGTERM even if the reader of its output has closed the pipe', async () => {
    const started = await start()
    started.npm.stdout?.destroy()
    started.npm.kill('SIGTERM')
    assert.equal(await started.ended, 0)
  })

  it('handles the two signals of one Ctrl-C as one signal', async function () {
    // The broker counts two signals as one signal only if they arrive close together. If a busy
    // machine delays the second signal, the broker stops immediately at this signal.
    this.retries(2)
    const started = await start()
    const { socket, until } = await holder(started.url)
    // At Ctrl-C, the terminal and npm each send the broker a signal. Here npm sends both signals,
    // because npm passes on each signal that the test sends to npm.
    started.npm.kill('SIGINT')
    await started.lineWith('got SIGINT')
    started.npm.kill('SIGINT')
    await until('draining')
    socket.send(JSON.stringify({ type: 'bye' }))
    const [code] = await once(socket, 'close')
    assert.equal(code, normalClosure)
    assert.equal(await started.ended, 0)
  })
})

describe('npm run demo:browser', () => {
  it('exits 78 before the build if another program uses the port in --port', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const { status, stderr } = demoBrowser('--port', String(port))
    server.close()
    const problem = `Cannot listen on 127.0.0.1:${port}: another program is using the port`
    const advice = 'stop that program, or run "npm run demo:browser -- --port N"'
    assert.deepEqual(
      [status, stderr],
      [exitCodes.config, `holdfast: ${problem}, perhaps another Holdfast broker: ${advice}\n`],
    )
  })

  it('refuses a wrong port, a wrong option and a port without --port with one line', () => {
    for (const args of [['--port', 'x'], ['--port', '65536'], ['--prt', '1'], ['7421']]) {
      const { status, stderr } = demoBrowser(...args)
      assert.equal(status, exitCodes.usage, stderr)
      assert.match(stderr, /^holdfast: .*--port.*\n$/)
    }
  })

  /** Runs the program of `npm run demo:browser` with arguments that prevent the build. */
  function demoBrowser(...args: readonly string[]) {
    const program = join(root, 'test/tools/demo-browser.mjs')
    return spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })
  }
})
