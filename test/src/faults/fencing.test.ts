/**
 * Shows the purpose of a fence, an integer that rises with every grant. Two programs add to one
 * number under one lock. The test pauses one program between its read and its write, for longer
 * than the ttl of its lock (how long the lock lasts). The broker grants the lock to the other
 * program; then the paused program wakes up and writes. A store that ignores fences loses updates,
 * and no lock service can prevent this loss. A store that refuses fences lower than the highest
 * fence so far loses no update.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import postgres from 'postgres'
import { Collector, Stage } from '../e2e/stage.js'
import { quickOrFull } from '../support/counts.js'
import { needs } from '../support/needs.js'
import { Postgres } from '../support/postgres.js'
import { bundleOrBuiltFile } from '../support/programs.js'
import type { Protection, WriterMessage } from './programs/writer.js'

/** A process of the program `writer`, which adds to the number when the test tells it to. */
class Writer {
  readonly #process: ChildProcess
  readonly #messages = new Collector<WriterMessage>()
  #receivedCount = 0

  constructor(url: string, database: Postgres, protection: Protection) {
    const path = bundleOrBuiltFile(fileURLToPath(new URL('./programs/writer.js', import.meta.url)))
    this.#process = fork(path, [url, JSON.stringify(database.address), protection])
    this.#process.on('message', (message) => this.#messages.add(message as WriterMessage))
  }

  /** Resolves with the next message of the program. */
  async nextMessage(): Promise<WriterMessage> {
    const messages = await this.#messages.waitForCount(++this.#receivedCount)
    return messages[this.#receivedCount - 1]!
  }

  /** Sends a command: after `add` the program locks and reads; after `go` it writes and unlocks. */
  tell(command: 'add' | 'go'): void {
    this.#process.send(command)
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }
}

interface ContentionResult {
  /** How many writes the store accepted. */
  readonly accepted: number
  /** How many writes the store refused. */
  readonly refused: number
  /** The number in the store at the end. */
  readonly value: number
}

/**
 * Runs `rounds` rounds, and pauses one of the programs in each round. The number in the store is 0
 * at first.
 */
async function contend(
  stage: Stage,
  database: Postgres,
  protection: Protection,
  rounds: number,
): Promise<ContentionResult> {
  const { url } = await stage.startBroker()
  const sql = postgres({ ...database.address, database: 'postgres', max: 1, onnotice: () => {} })
  stage.onCleanUp(() => sql.end())
  await sql`drop table if exists counter`
  await sql`create table counter (value bigint not null, fence bigint not null)`
  await sql`insert into counter values (0, 0)`
  const writers = [1, 2].map(() => new Writer(url, database, protection))
  for (const writer of writers) stage.onCleanUp(() => writer.kill('SIGKILL'))
  for (const writer of writers) expect(await writer.nextMessage()).to.equal('ready')
  const outcomes: WriterMessage[] = []
  for (let round = 0; round < rounds; round++) {
    const [sleeper, other] = round % 2 === 0 ? writers : [...writers].reverse()
    outcomes.push(...(await runRound(sleeper!, other!)))
  }
  const [row] = await sql`select value from counter`
  const accepted = outcomes.filter((message) => message === 'wrote').length
  return { accepted, refused: outcomes.length - accepted, value: Number(row?.['value']) }
}

/**
 * Pauses one program between its read and its write while the other program adds to the number.
 * Returns both outcomes.
 */
async function runRound(sleeper: Writer, other: Writer): Promise<WriterMessage[]> {
  sleeper.tell('add')
  expect(await sleeper.nextMessage()).to.equal('read')
  sleeper.kill('SIGSTOP')
  other.tell('add')
  // The other program gets the lock, and reads, only after the sleeper's lock has expired.
  expect(await other.nextMessage()).to.equal('read')
  other.tell('go')
  const otherOutcome = await other.nextMessage()
  // The sleeper receives this command when it continues.
  sleeper.tell('go')
  sleeper.kill('SIGCONT')
  return [otherOutcome, await sleeper.nextMessage()]
}

describe('faults: when a holder writes after a pause longer than its ttl,', function () {
  this.timeout(300_000)
  needs('postgres')
  const stage = Stage.forEachTest()
  /** 4 rounds in a quick run, 40 rounds in a full run. */
  const rounds = quickOrFull(4, 40)
  let database: Postgres

  before(async () => {
    database = await Postgres.start()
  })
  after(() => database?.stop())

  it('a store that ignores fences loses an update in every round', async () => {
    const { accepted, refused, value } = await contend(stage, database, 'none', rounds)
    // Both programs write once in each round.
    expect({ accepted, refused }).to.deep.equal({ accepted: 2 * rounds, refused: 0 })
    expect(accepted - value, 'lost updates').to.equal(rounds)
  })

  it('a store that refuses fences lower than the highest fence so far loses no update', async () => {
    const { accepted, refused, value } = await contend(stage, database, 'fence', rounds)
    expect({ accepted, refused }).to.deep.equal({ accepted: rounds, refused: rounds })
    expect(accepted - value, 'lost updates').to.equal(0)
  })
})
