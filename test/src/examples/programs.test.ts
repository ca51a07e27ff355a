/**
 * Runs the examples that are programs, as users run them: each program has a process of its own,
 * and several programs share a broker.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Session } from '@holdfast/client'
import { expect } from 'chai'
import { Collector, Stage } from '../e2e/stage.js'

/** An example in a process of its own. */
class Program {
  readonly child: ChildProcess
  /** The lines of the standard output. */
  readonly lines = new Collector<string>()
  /** Resolves with the exit code when the program has ended and its output was read. */
  readonly #exitCode: Promise<number | null>

  constructor(
    example: string,
    args: readonly string[],
    environment: Readonly<Record<string, string>>,
  ) {
    const path = fileURLToPath(new URL(`./${example}.js`, import.meta.url))
    this.child = spawn(process.execPath, [path, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...environment },
    })
    createInterface(this.child.stdout!).on('line', this.lines.add)
    this.#exitCode = once(this.child, 'close').then(([code]) => code)
  }

  /** Resolves when the program has printed this line. */
  async waitForLine(line: string): Promise<void> {
    await this.lines.waitUntil((lines) => lines.includes(line))
  }

  /** Resolves with all lines when the program has ended with the exit code 0. */
  async output(): Promise<readonly string[]> {
    expect(await this.#exitCode, 'the exit code').to.equal(0)
    return this.lines.items
  }
}

/** The port argument with which an example chooses a free port. */
const anyPort = '0'

/** A request to the HTTP server of a test. */
interface HttpRequest {
  readonly method: string
  readonly path: string
  /**
   * The header `fence`: the number of the sender's grant. A later grant has a higher fence. NaN if
   * the request has no such header.
   */
  readonly fence: number
  readonly body: string
  /** Answers with this body. @param status Default 200. */
  answer(body: string, status?: number): void
}

describe('the examples that are programs', () => {
  const stage = Stage.forEachTest()
  let url: string

  beforeEach(async () => {
    url = (await stage.startBroker()).url
  })

  /** Starts an example, whose process is killed after the test if it still runs. */
  function run(
    example: string,
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): Program {
    const program = new Program(example, args, { HOLDFAST_URL: url, ...environment })
    stage.onCleanUp(async () => {
      const { child } = program
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    })
    return program
  }

  /** Starts an HTTP server that collects its requests, which the test answers. */
  async function httpServer() {
    const requests = new Collector<HttpRequest>()
    const server = createServer((request, response) => {
      void readRequest(request, response).then(requests.add)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    stage.onCleanUp(() => {
      server.closeAllConnections()
      server.close()
    })
    return { requests, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
  }

  /** Resolves when this many requests for locks wait at the broker. */
  async function untilWaiting(session: Session, count: number): Promise<void> {
    const counts = new Collector<number>()
    let waiting = 0
    const watch = session.watch({ prefix: '', queue: true }, (event) => {
      if (event.event === 'state') waiting = event.waitingCount ?? 0
      else if (event.event === 'queued') waiting++
      else if (event.event === 'dequeued') waiting--
      counts.add(waiting)
    })
    await counts.waitUntil(() => waiting === count)
    watch.close()
  }

  it('nightlyReport: one of three machines runs the job, even if the first machine dies', async () => {
    const observer = await stage.openSession(url)
    const { requests, origin } = await httpServer()
    const start = (machine: string) =>
      run('nightlyReport', [origin, '2026-11-29'], { MACHINE: machine })
    const first = start('m1')
    await requests.waitForCount(1)
    const others = ['m2', 'm3'].map(start)
    await untilWaiting(observer, 2)
    first.child.kill('SIGKILL')
    const [, ordersRequest] = await requests.waitForCount(2)
    expect(ordersRequest!.path).to.equal('/orders?day=2026-11-29')
    ordersRequest!.answer('[1, 2]')
    const [, , putRequest] = await requests.waitForCount(3)
    expect([putRequest!.method, putRequest!.path]).to.deep.equal(['PUT', '/reports/2026-11-29'])
    expect(putRequest!.fence).to.be.above(0)
    const { orders, madeBy } = JSON.parse(putRequest!.body)
    expect(orders).to.equal(2)
    expect(madeBy).to.be.oneOf(['m2', 'm3'])
    putRequest!.answer('')
    const outputs = await Promise.all(others.map((other) => other.output()))
    const outputOfMaker = ['made the report of 2026-11-29']
    const outputOfOthers = [`${madeBy} made the report of 2026-11-29`]
    expect(outputs).to.have.deep.members([outputOfMaker, outputOfOthers])
    expect(await start('late').output()).to.deep.equal(outputOfOthers)
    expect(requests.items).to.have.lengthOf(3)
  })

  it('fetchAtMostThree: two processes have at most three requests in flight', async () => {
    const observer = await stage.openSession(url)
    const { requests, origin } = await httpServer()
    const pages = (name: string) => [1, 2, 3, 4].map((page) => `${origin}/${name}/${page}`)
    const programs = ['a', 'b'].map((name) => run('fetchAtMostThree', pages(name)))
    // The example has three permits. The two processes fetch four pages each.
    const [capacity, pageCount] = [3, 8]
    const pageText = 'four'
    const waiting = untilWaiting(observer, pageCount - capacity)
    await Promise.all([requests.waitForCount(capacity), waiting])
    for (let answered = 0; answered < pageCount; answered++) {
      await requests.waitForCount(Math.min(answered + capacity, pageCount))
      expect(requests.items.length - answered, 'requests in flight').to.be.at.most(capacity)
      requests.items[answered]!.answer(pageText)
    }
    const outputs = await Promise.all(programs.map((program) => program.output()))
    // The programs print the status and the URL of each page, and the length of its text.
    expect(outputs.flat()).to.have.members(
      [...pages('a'), ...pages('b')].map((page) => `200 ${pageText.length} ${page}`),
    )
  })

  for (const example of ['nightlyReport', 'fetchAtMostThree', 'exchangeRates']) {
    it(`${example}: prints its usage and exits 64 if its arguments are missing`, () => {
      const path = fileURLToPath(new URL(`./${example}.js`, import.meta.url))
      const { status, stderr } = spawnSync(process.execPath, [path], { encoding: 'utf8' })
      expect(status).to.equal(64)
      expect(stderr).to.match(new RegExp(`^Usage: node test/dist/examples/${example}\\.js [A-Z_]+`))
    })
  }

  it('scheduler: hands over when it is stopped, and is replaced when it dies', async () => {
    const a = run('scheduler', ['a'])
    await a.waitForLine('assigned jobs to the workers')
    const b = run('scheduler', ['b'])
    await b.waitForLine('waits to lead')
    await b.waitForLine('a leads')
    const observer = await stage.openSession(url)
    await untilWaiting(observer, 1)
    const c = run('scheduler', ['c'])
    await untilWaiting(observer, 2)
    a.child.kill('SIGTERM')
    expect((await a.output()).at(-1)).to.equal('resigned')
    await b.waitForLine('assigned jobs to the workers')
    expect(c.lines.items).not.to.include('assigned jobs to the workers')
    b.child.kill('SIGKILL')
    await c.waitForLine('assigned jobs to the workers')
    await c.waitForLine('c leads')
    c.child.kill('SIGINT')
    await c.output()
    const { heldCount } = await observer.query({ key: 'scheduler' })
    expect(heldCount).to.equal(0)
  })

  it('exchangeRates: asks the source once for many requests, and again after an error', async () => {
    const observer = await stage.openSession(url)
    const { requests, origin } = await httpServer()
    const servers = [1, 2].map(() => run('exchangeRates', [origin, anyPort]))
    const addresses = await Promise.all(
      servers.map(async ({ lines }) => (await lines.waitForCount(1))[0]!.split(' ').at(-1)!),
    )
    const ask = async (serverIndex: number, path: string) => {
      const response = await fetch(`${addresses[serverIndex]}${path}`)
      return `${response.status} ${await response.text()}`
    }
    expect(await ask(0, '/euro')).to.match(/^404 /)
    const failed = ask(0, '/EUR')
    await requests.waitForCount(1)
    const answers = [ask(0, '/EUR'), ask(1, '/EUR'), ask(1, '/EUR')]
    await untilWaiting(observer, 3)
    requests.items[0]!.answer('broken', 500)
    expect(await failed).to.equal('502 The source answered 500\n')
    await requests.waitForCount(2)
    requests.items[1]!.answer('1.0845')
    expect(await Promise.all(answers)).to.deep.equal(Array(3).fill('200 1.0845\n'))
    expect(await ask(0, '/EUR')).to.equal('200 1.0845\n')
    expect(requests.items).to.have.lengthOf(2)
    for (const { child } of servers) child.kill('SIGTERM')
    await Promise.all(servers.map((server) => server.output()))
  })

  it('orderService: pays for an order once, and ends when it is stopped', async () => {
    const program = run('orderService', [anyPort])
    const [line] = await program.lines.waitForCount(1)
    const origin = line!.split(' ').at(-1)
    const pay = async (id: string) =>
      (await fetch(`${origin}/orders/${id}/pay`, { method: 'POST' })).status
    // Order 9 does not exist (404), and the id of an order must be a number (400).
    const statuses = await Promise.all([pay('1'), pay('1'), pay('9'), pay('one')])
    expect([statuses.slice(0, 2).sort(), statuses.slice(2)]).to.deep.equal([
      [200, 409],
      [404, 400],
    ])
    program.child.kill('SIGTERM')
    expect(await program.output()).to.deep.equal([line, 'charged for order 1'])
  })
})

/** Resolves with the request when its whole body has arrived. */
async function readRequest(
  request: IncomingMessage,
  response: ServerResponse,
): Promise<HttpRequest> {
  let body = ''
  for await (const chunk of request) body += chunk
  return {
    method: request.method ?? '',
    path: request.url ?? '',
    fence: Number(request.headers['fence']),
    body,
    answer: (answerBody, status = 200) => response.writeHead(status).end(answerBody),
  }
}
