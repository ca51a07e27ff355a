/**
 * Tests the end of real processes. When a client process ends, its locks pass to the next waiters
 * and its requests leave their queues. A process that has closed its sessions and brokers ends by
 * itself. A fence is the number of a grant; a later grant has a higher fence. A session is in
 * jeopardy while its connection is down. The grace is how long the session then lasts.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { expect } from 'chai'
import { exitOf, pathOf, RemoteClient } from './remote.js'
import { Collector, Stage, untilMessagesHandled } from './stage.js'

describe('e2e: the end of a client process', () => {
  const stage = Stage.forEachTest()

  const ends: [string, (client: RemoteClient) => unknown][] = [
    ['kill -9', (client) => client.kill('SIGKILL')],
    // The process may end before it reports that it executed the command.
    ['a crash', (client) => void client.execute({ do: 'crash' })],
    ['SIGTERM', (client) => client.kill('SIGTERM')],
    ['close', (client) => client.execute({ do: 'close' })],
  ]
  for (const [title, end] of ends) {
    it(`${title} passes on the locks of the client, and removes its requests from the queues`, async () => {
      const { broker, url } = await stage.startBroker()
      const local = await stage.openSession(url)
      const remote = await RemoteClient.start(stage, url, { name: 'remote' })
      const localLock = await local.lock('c')
      const fences = [await remote.lock('a'), await remote.lock('b')]
      void remote.lock('c').catch(() => {})
      await remote.untilMessagesHandled()
      const waits = [local.lock('a'), local.lock('b')]
      await untilMessagesHandled(local)
      // The remote client holds `a` and `b`, and waits for `c`. The local session holds `c`, and
      // waits for `a` and `b`.
      expect(broker.query()).to.include({ heldCount: 3, waitingCount: 3 })
      await end(remote)
      const locks = await Promise.all(waits)
      locks.forEach((lock, i) => {
        expect(lock.fence).to.be.above(fences[i]!)
      })
      expect(broker.query()).to.include({ heldCount: 3, waitingCount: 0 })
      await localLock.unlock()
      expect(broker.query().heldCount, 'the remote request is gone').to.equal(2)
    })
  }

  it('passes a lock through all clients in order when kill -9 ends one after another', async () => {
    const { url } = await stage.startBroker()
    const clients: RemoteClient[] = []
    const granted: Promise<number>[] = []
    for (let i = 0; i < 4; i++) {
      const client = await RemoteClient.start(stage, url)
      clients.push(client)
      granted.push(client.lock('k'))
      await client.untilMessagesHandled()
    }
    const fences: number[] = []
    for (const [i, client] of clients.entries()) {
      fences.push(await granted[i]!)
      client.kill('SIGKILL')
    }
    expect(fences).to.deep.equal([...fences].sort((a, b) => a - b))
    expect(new Set(fences).size).to.equal(4)
  })
})

describe('e2e: a process ends by itself', () => {
  const stage = Stage.forEachTest()

  it('after it has closed its session', async () => {
    const { url } = await stage.startBroker()
    const client = await RemoteClient.start(stage, url, { grace: 'lease' })
    await client.lock('k', { ttl: 60_000 })
    await client.execute({ do: 'close' })
    // Without this command, the IPC channel to the test would keep the process alive.
    await client.execute({ do: 'leave' })
    expect(await client.exit()).to.deep.equal({ code: 0, signal: null })
  })

  it('after it has closed its sessions and its broker', async () => {
    // The program prints `closed` after it has closed everything.
    const program = spawn(process.execPath, [pathOf('closesAll')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    stage.onCleanUp(() => program.kill('SIGKILL'))
    const lines = new Collector<string>()
    createInterface(program.stdout).on('line', lines.add)
    await once(program.stdout, 'close')
    expect(lines.items).to.deep.equal(['closed'])
    expect(await exitOf(program)).to.deep.equal({ code: 0, signal: null })
  })
})

describe('e2e: a client under fake timers', () => {
  const stage = Stage.forEachTest()

  /**
   * Runs a program whose lock must expire.
   *
   * @param url The URL of a broker. Without a URL, the program starts a broker in its own process.
   */
  async function runProgram(...url: string[]): Promise<void> {
    const program = spawn(process.execPath, [pathOf('fakeTimers'), ...url], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    stage.onCleanUp(() => program.kill('SIGKILL'))
    const lines = new Collector<string>()
    createInterface(program.stdout).on('line', lines.add)
    await once(program.stdout, 'close')
    // `held` is about another lock than `lost`.
    expect(lines.items).to.deep.equal(['{"held":true,"lost":"expired"}'])
    expect(await exitOf(program)).to.deep.equal({ code: 0, signal: null })
  }

  it('uses the real timers, although the program has replaced all timers and clocks', async () => {
    const { url } = await stage.startBroker()
    await runProgram(url)
  })

  it('uses the real timers also if the broker is in the process of the client', () => runProgram())
})

describe('e2e: a session that its program leaves behind', () => {
  const stage = Stage.forEachTest()

  /**
   * Starts the program `forgotten`. Its session waits for a lock of another session. When the test
   * has ended `stdin`, only the session can keep the process alive.
   *
   * @param mode The modes `option` (the option `unref`), `call` (a call of `unref`) and `close` (a
   * call of `close`) let the process end. The mode `ref` keeps the process alive.
   */
  async function start(mode: string) {
    const running = await stage.startBroker()
    const holder = await stage.openSession(running.url)
    const lock = await holder.lock('waited for')
    const program = spawn(process.execPath, [pathOf('forgotten'), mode, running.url], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    stage.onCleanUp(() => program.kill('SIGKILL'))
    const lines = new Collector<string>()
    createInterface(program.stdout).on('line', lines.add)
    await lines.waitUntil((items) => items.includes('connected'))
    return { ...running, lock, program, lines }
  }

  const endings = [
    ['option', 'with the option unref'],
    ['call', 'after a call of unref'],
    ['close', 'after its close'],
  ] as const
  for (const [mode, title] of endings) {
    it(`does not keep its process alive ${title}`, async () => {
      const { program } = await start(mode)
      program.stdin.end()
      expect(await exitOf(program)).to.deep.equal({ code: 0, signal: null })
    })
  }

  it('does not keep its process alive while it is disconnected', async () => {
    const { program, broker, lines } = await start('option')
    await broker.close()
    await lines.waitUntil((items) => items.includes('jeopardy'))
    program.stdin.end()
    expect(await exitOf(program)).to.deep.equal({ code: 0, signal: null })
  })

  it('keeps its process alive again after ref', async () => {
    const { program, lock, lines } = await start('ref')
    program.stdin.end()
    // The program prints `done` when its `stdin` has ended.
    await lines.waitUntil((items) => items.includes('done'))
    await lock.unlock()
    await lines.waitUntil((items) => items.includes('granted'))
    expect(program.exitCode).to.equal(null)
  })
})
