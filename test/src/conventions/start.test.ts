/**
 * `npm start`, as somebody types it: it says where the broker listens, serves there, and ends when
 * npm is told to end, leaving nothing behind.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { assert } from 'chai'
import { WebSocket } from 'ws'
import { npm } from './npm.js'
import { root } from './repository.js'

interface Started {
  readonly npm: ChildProcess
  readonly url: string
  /** Resolves with the first line that contains this. */
  said(part: string): Promise<string>
  /**
   * Its exit code, once nothing can write to its output any more: it and all its children ended.
   */
  readonly ended: Promise<number | null>
}

async function start(): Promise<Started> {
  const { command, args, env } = npm('start', '--', '--port', '0')
  const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'close').then(([code]) => code as number | null)
  const lines: string[] = []
  const reader = createInterface(child.stdout).on('line', (line) => lines.push(line))
  const said = async (part: string): Promise<string> => {
    for (;;) {
      const line = lines.find((each) => each.includes(part))
      if (line !== undefined) return line
      const next = await Promise.race([once(reader, 'line'), ended])
      if (!Array.isArray(next)) throw new Error(`it ended without "${part}":\n${lines.join('\n')}`)
    }
  }
  const url = /ws:\S+/.exec(await said('listening on'))?.[0] ?? ''
  return { npm: child, url, said, ended }
}

/** A client that holds a lock, so that draining has somebody to wait for. */
async function holder(
  url: string,
): Promise<{ socket: WebSocket; until(type: string): Promise<void> }> {
  const socket = new WebSocket(url, 'holdfast.v1')
  const seen = new Set<string>()
  const until = async (type: string): Promise<void> => {
    while (!seen.has(type)) {
      const [data] = await once(socket, 'message')
      for (const message of [JSON.parse(String(data))].flat()) seen.add(message.type)
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
  it('serves, and at SIGTERM drains and ends with 0', async () => {
    const started = await start()
    const { socket, until } = await holder(started.url)
    started.npm.kill('SIGTERM')
    await until('draining')
    socket.send(JSON.stringify({ type: 'bye' }))
    const [code] = await once(socket, 'close')
    assert.equal(code, 1000)
    assert.equal(await started.ended, 0)
  })

  it('outlives whoever read its output', async () => {
    const started = await start()
    started.npm.stdout?.destroy()
    started.npm.kill('SIGTERM')
    assert.equal(await started.ended, 0)
  })

  it('takes the two signals of one Ctrl-C for one', async function () {
    // The two are one only if they come close together, and a busy machine can part them.
    this.retries(2)
    const started = await start()
    const { socket, until } = await holder(started.url)
    // The terminal's, to the whole group; npm's own follows.
    started.npm.kill('SIGINT')
    await started.said('got SIGINT')
    started.npm.kill('SIGINT')
    await until('draining')
    socket.send(JSON.stringify({ type: 'bye' }))
    const [code] = await once(socket, 'close')
    assert.equal(code, 1000)
    assert.equal(await started.ended, 0)
  })
})
