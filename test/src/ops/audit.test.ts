/**
 * Tests the audit log of `holdfast serve --audit FILE`. The log has a line of JSON for each steal,
 * revocation, refused deadlock, renewal of a token, change of the token file, and other refusal. A
 * fence is the number of a grant. `--drain 0` lets the command end at SIGTERM without waiting for
 * its sessions.
 */
import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import type { Session } from '@holdfast/client'
import { createBroker, tokenLine } from '@holdfast/server'
import { type AuditKind, AuditLog, auditKinds } from '@holdfast/server/internal'
import { expect } from 'chai'
import { ServeProcess } from '../e2e/remote.js'
import { expectRejection, Stage, untilAborted } from '../e2e/stage.js'
import { FakeEnvironment } from '../server/fakeEnvironment.js'
import { BrokerHarness, type Client } from '../server/harness.js'
import { FakeClock } from '../support/fakeClock.js'
import { makeScratchFolder } from './scratch.js'

type Line = Readonly<Record<string, unknown>>

/** The largest number of lines of one kind in a second, for the kinds that clients can cause. */
const maxLinesPerSecond = 100

/** The lines of an audit log. */
const parse = (text: string): Line[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

describe('the audit log', () => {
  const stage = Stage.forEachTest()

  it('has a line for each steal, revocation, refusal and change of a token, and contains no token', async () => {
    const files = makeScratchFolder(stage)
    const tokens = files.write(
      'tokens',
      tokenLine('secret-of-ops', 'ops', ['lock', 'steal', 'revoke', 'query']) +
        tokenLine('secret-of-web', 'web', ['lock'], ['web:*']),
    )
    const file = files.path('audit.jsonl')
    const serving = await ServeProcess.startListening(
      stage,
      '--drain',
      '0',
      '--tokens',
      tokens,
      '--audit',
      file,
    )
    const { url } = serving
    const ops = await stage.openSession(url, { name: 'op', token: 'secret-of-ops' })
    const web = await stage.openSession(url, { name: 'page\u001b', token: 'secret-of-web' })

    const stolenLock = await web.lock('web:a')
    const { fence: fenceOfOps } = await ops.lock('web:a', { steal: true })
    const revokedLock = await web.lock('web:b')
    await ops.revoke('web:b', { fence: revokedLock.fence, reason: 'maintenance' })
    await Promise.all([untilAborted(stolenLock.signal), untilAborted(revokedLock.signal)])
    await expectRejection(web.lock('other'), 'FORBIDDEN')
    await expectRejection(web.authenticate('wrong-secret'), 'UNAUTHORIZED')
    await web.authenticate('secret-of-web')
    await causeDeadlock(ops)
    // The broker reads the changed file when the next client sends a token.
    appendFileSync(tokens, tokenLine('secret-of-new', 'new'))
    await expectRejection(stage.openSession(url, { token: 'wrong-secret' }), 'UNAUTHORIZED')
    serving.kill('SIGTERM')
    expect((await serving.exit()).code).to.equal(0)

    const text = readFileSync(file, 'utf8')
    expect(text).not.to.include('secret').and.not.include('\u001b')
    expect(statSync(file).mode & 0o777).to.equal(0o600)
    const lines = parse(text)
    // The time is in ms since 1970: 1e12 is in the year 2001.
    for (const { time } of lines) expect(time).to.be.a('number').above(1e12)
    const comparableLines = lines.map(({ time, remoteAddress, ...fields }) => fields)
    const opsFields = { session: ops.id, principal: 'ops', name: 'op' }
    const webFields = { session: web.id, principal: 'web', name: 'page\u001b' }
    const webFieldsWithoutName = { session: web.id, principal: 'web' }
    expect(comparableLines).to.deep.equal([
      {
        event: 'lock_stolen',
        key: 'web:a',
        fence: stolenLock.fence,
        holder: webFields,
        by: opsFields,
      },
      {
        event: 'lock_revoked',
        key: 'web:b',
        fence: revokedLock.fence,
        holder: webFields,
        by: opsFields,
        reason: 'maintenance',
      },
      {
        event: 'refused',
        cause: 'forbidden',
        operation: 'lock',
        key: 'other',
        ...webFieldsWithoutName,
      },
      { event: 'token_renewal_refused', ...webFieldsWithoutName },
      { event: 'token_renewed', ...webFieldsWithoutName },
      {
        event: 'deadlock_refused',
        cause: 'deadlock',
        session: ops.id,
        principal: 'ops',
        key: 'deadlock:a',
      },
      { event: 'token_file_changed', file: tokens, added: ['new'], removed: [] },
      { event: 'refused', cause: 'unauthorized' },
    ])
    expect(fenceOfOps).to.be.above(stolenLock.fence)
  })

  /** Lets two tasks (scopes) of a session wait for each other, until a request is refused. */
  async function causeDeadlock(session: Session): Promise<void> {
    await session.scope(async (first) => {
      await first.lock('deadlock:a')
      await session.scope(async (second) => {
        await second.lock('deadlock:b')
        first.lock('deadlock:b').catch(() => {})
        await expectRejection(second.lock('deadlock:a'), 'DEADLOCK')
      })
      // The second scope has ended and released `deadlock:b`, so the first scope gets this lock.
      await first.lock('deadlock:b')
    })
  }

  it('has a line for each key of a set of locks, if one key is stolen', async () => {
    const lines: Line[] = []
    const audit = new AuditLog((line) => lines.push(JSON.parse(line)))
    const broker = createBroker({ observer: audit })
    stage.onCleanUp(() => broker.close())
    const { url } = await broker.listen({ port: 0 })
    const holder = await stage.openSession(url)
    const stealer = await stage.openSession(url)
    await holder.lockAll(['a', 'b'])
    await stealer.lock('a', { steal: true })
    expect(lines.map(({ event, key }) => `${event} ${key}`)).to.have.members([
      'lock_stolen a',
      'lock_stolen b',
    ])
  })

  it('leaves out refusals beyond 100 a second, and writes how many it left out', () => {
    const clock = new FakeClock()
    const lines: Line[] = []
    const audit = new AuditLog((line) => lines.push(JSON.parse(line)), clock)
    const refuse = (times: number) => {
      for (let i = 0; i < times; i++) audit.onRefused({ cause: 'unauthorized' })
    }
    const eventsSince = (start: number) => lines.slice(start).map(({ event }) => event)
    refuse(maxLinesPerSecond + 30)
    expect(lines).to.have.lengthOf(maxLinesPerSecond)
    // The first second is not over yet, so the log leaves out a 31st refusal.
    clock.advance(999)
    refuse(1)
    expect(lines).to.have.lengthOf(maxLinesPerSecond)
    clock.advance(1)
    refuse(1)
    expect(eventsSince(maxLinesPerSecond)).to.deep.equal(['lines_left_out', 'refused'])
    expect(lines[maxLinesPerSecond]).to.include({ of: 'refused', count: 31 })
    // This second has 102 refusals: two more than the log writes.
    refuse(maxLinesPerSecond + 1)
    // No limit applies to lines that only the operator can cause.
    audit.tokenFileChanged('tokens', [], [])
    expect(lines.at(-1)).to.include({ event: 'token_file_changed' })
    audit.close()
    expect(lines.at(-1)).to.include({ event: 'lines_left_out', of: 'refused', count: 2 })
  })

  it('limits each kind of line separately, so that a flood of one kind hides no other kind', () => {
    const lines: Line[] = []
    const audit = new AuditLog((line) => lines.push(JSON.parse(line)), new FakeClock())
    for (let i = 0; i < maxLinesPerSecond + 30; i++) audit.onRefused({ cause: 'unauthorized' })
    audit.onRefused({ cause: 'deadlock' })
    expect(lines.at(-1)).to.include({ event: 'deadlock_refused' })
  })

  it('stops the command with exit code 78 if its file cannot be opened', async () => {
    const file = makeScratchFolder(stage).path('missing/audit.jsonl')
    const serving = ServeProcess.runCommand(stage, 'serve', '--port', '0', '--audit', file)
    expect((await serving.exit()).code).to.equal(78)
    expect(serving.errorLines.items.join()).to.include(`The audit file ${file} cannot be opened`)
  })

  it('is appended to an existing file', async () => {
    const file = makeScratchFolder(stage).path('audit.jsonl')
    writeFileSync(file, '{"event":"earlier"}\n')
    const serving = await ServeProcess.startListening(stage, '--drain', '0', '--audit', file)
    const [holder, stealer] = [
      await stage.openSession(serving.url),
      await stage.openSession(serving.url),
    ]
    await holder.lock('a')
    await stealer.lock('a', { steal: true })
    serving.kill('SIGTERM')
    await serving.exit()
    const events = parse(readFileSync(file, 'utf8')).map(({ event }) => event)
    expect(events).to.deep.equal(['earlier', 'lock_stolen'])
  })
})

/** The kinds of lines that no client can cause. Only these kinds have no limit. */
type OperatorKind = 'token_file_changed'

/** A broker with an audit log, and two clients that cause lines in the log. */
class AuditedBroker {
  readonly lines: Line[] = []
  readonly audit: AuditLog
  readonly #harness: BrokerHarness
  readonly #clients: Client[] = []

  private constructor() {
    const environment = new FakeEnvironment()
    this.audit = new AuditLog((line) => this.lines.push(JSON.parse(line)), environment.clock)
    const options = {
      authenticate: ({ token }: { readonly token: string | undefined }) =>
        token === 'good' ? { principal: 'ann', may: () => true } : undefined,
      authorize: (_: string, __: string, key: string) => key !== 'forbidden',
      observer: this.audit,
    }
    this.#harness = new BrokerHarness(options, { environment })
  }

  static async start(): Promise<AuditedBroker> {
    const broker = new AuditedBroker()
    for (let i = 0; i < 2; i++) {
      const socket = broker.#harness.connectWithHello({ token: 'good' })
      await broker.#harness.settle()
      broker.#clients.push(broker.#harness.clientOn(socket))
    }
    return broker
  }

  /** The two clients, in the order in which they connected. */
  get clients(): readonly [Client, Client] {
    return this.#clients as unknown as [Client, Client]
  }

  /** Sends a new token of the first client, and waits until the broker has checked the token. */
  async renewToken(id: number, token: string): Promise<void> {
    this.clients[0].say({ type: 'auth', id, token })
    await this.#harness.settle()
  }

  /** Lets a scope of the first client hold `a` and wait for `b`, which another scope holds. */
  prepareDeadlock(): void {
    const [ann] = this.clients
    ann.lock('a', { scope: 1 })
    ann.lock('b', { scope: 2 })
    ann.lock('b', { scope: 1 })
  }
}

/**
 * Causes one line of each kind that a client can cause. `n` is the number of the call, from 1. The
 * first call may also prepare the later calls.
 */
const causes: Record<
  Exclude<AuditKind, OperatorKind>,
  (broker: AuditedBroker, n: number) => Promise<void> | void
> = {
  lock_stolen({ clients }, n) {
    if (n === 1) clients[0].lock('k')
    // The clients steal the lock from each other in turns, and the second client begins.
    clients[n % 2]!.lock('k', { steal: true })
  },
  lock_revoked({ clients: [holder, revoker] }, n) {
    const fence = holder.acquire('k')
    revoker.say({ type: 'revoke', id: n, key: 'k', fence, reason: 'stuck' })
  },
  deadlock_refused(broker, n) {
    if (n === 1) broker.prepareDeadlock()
    broker.clients[0].lock('a', { scope: 2 })
  },
  refused: ({ clients }) => void clients[0].lock('forbidden'),
  token_renewed: (broker, n) => broker.renewToken(n, 'good'),
  token_renewal_refused: (broker, n) => broker.renewToken(n, 'bad'),
}

describe('the audit log bounds every kind of line that a client can cause:', () => {
  it('all kinds except those of the operator are tested here', () => {
    const operatorKinds: OperatorKind[] = ['token_file_changed']
    const testedKinds = [...Object.keys(causes), ...operatorKinds]
    expect(Object.keys(auditKinds)).to.have.members(testedKinds)
    for (const kind of Object.keys(causes) as (keyof typeof causes)[]) {
      expect(auditKinds[kind], kind).to.equal('client')
    }
  })

  for (const [kind, cause] of Object.entries(causes)) {
    it(kind, async () => {
      const broker = await AuditedBroker.start()
      for (let n = 1; n <= maxLinesPerSecond + 30; n++) await cause(broker, n)
      const events = broker.lines.map(({ event }) => event)
      expect(events).to.deep.equal(Array.from({ length: maxLinesPerSecond }, () => kind))
      broker.audit.close()
      const { time, ...fields } = broker.lines.at(-1)!
      expect(fields).to.deep.equal({ event: 'lines_left_out', of: kind, count: 30 })
      expect(time).to.be.a('number')
      for (const { socket } of broker.clients) expect(socket.closedWith).to.equal(undefined)
    })
  }
})
