/**
 * What a fence is for. Two programs add to one number under one lock, and one of them is stopped
 * between its read and its write for longer than its lock lasts. The lock goes to the other, as it
 * must; and then the first wakes and writes. A store that does not look at fences loses updates: no
 * lock service can prevent that. A store that refuses fences lower than the highest it has seen
 * loses none.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import postgres from 'postgres'
import { Collector, Stage } from '../e2e/stage.js'
import { count } from '../support/counts.js'
import { needs } from '../support/needs.js'
import { Postgres } from './postgres.js'
import type { Protection, Word } from './programs/writer.js'

class Writer {
  readonly #process: ChildProcess
  readonly #words = new Collector<Word>()
  #heard = 0

  constructor(url: string, database: Postgres, protection: Protection) {
    const path = fileURLToPath(new URL('./programs/writer.js', import.meta.url))
    this.#process = fork(path, [url, JSON.stringify(database.address), protection])
    this.#process.on('message', (word) => this.#words.add(word as Word))
  }

  /** The next thing it says. */
  async word(): Promise<Word> {
    const words = await this.#words.count(++this.#heard)
    return words[this.#heard - 1]!
  }

  tell(word: 'add' | 'go'): void {
    this.#process.send(word)
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }
}

interface Tally {
  /** Writes that the store took. */
  readonly taken: number
  readonly refused: number
  /** What the number is at the end. */
  readonly value: number
}

/** Runs so many rounds with a stop in each; the store has the number 0 at first. */
async function contend(
  stage: Stage,
  database: Postgres,
  protection: Protection,
  rounds: number,
): Promise<Tally> {
  const { url } = await stage.broker()
  const sql = postgres({ ...database.address, database: 'postgres', max: 1, onnotice: () => {} })
  stage.onClear(() => sql.end())
  await sql`drop table if exists counter`
  await sql`create table counter (value bigint not null, fence bigint not null)`
  await sql`insert into counter values (0, 0)`
  const writers = [1, 2].map(() => new Writer(url, database, protection))
  for (const writer of writers) stage.onClear(() => writer.kill('SIGKILL'))
  for (const writer of writers) expect(await writer.word()).to.equal('ready')
  const outcomes: Word[] = []
  for (let round = 0; round < rounds; round++) {
    const [sleeper, other] = round % 2 === 0 ? writers : [...writers].reverse()
    outcomes.push(...(await oneRound(sleeper!, other!)))
  }
  const [row] = await sql`select value from counter`
  const taken = outcomes.filter((word) => word === 'wrote').length
  return { taken, refused: outcomes.length - taken, value: Number(row?.['value']) }
}

/** One is stopped between read and write, the other takes over; what became of their writes. */
async function oneRound(sleeper: Writer, other: Writer): Promise<Word[]> {
  sleeper.tell('add')
  expect(await sleeper.word()).to.equal('read')
  sleeper.kill('SIGSTOP')
  other.tell('add')
  // It can read only when the lock of the sleeper has expired and was granted to it.
  expect(await other.word()).to.equal('read')
  other.tell('go')
  const first = await other.word()
  sleeper.tell('go')
  sleeper.kill('SIGCONT')
  return [first, await sleeper.word()]
}

describe('faults: holders that are stopped past their ttl, and what they write', function () {
  this.timeout(300_000)
  needs('postgres')
  const stage = Stage.forEachTest()
  const rounds = count(4, 40)
  let database: Postgres

  before(async () => {
    database = await Postgres.start()
  })
  after(() => database?.stop())

  it('a store that does not look at fences loses an update in every round', async () => {
    const { taken, refused, value } = await contend(stage, database, 'none', rounds)
    expect({ taken, refused }).to.deep.equal({ taken: 2 * rounds, refused: 0 })
    expect(taken - value, 'lost updates').to.equal(rounds)
  })

  it('a store that refuses lower fences than the highest it has seen loses none', async () => {
    const { taken, refused, value } = await contend(stage, database, 'fence', rounds)
    expect({ taken, refused }).to.deep.equal({ taken: rounds, refused: rounds })
    expect(taken - value, 'lost updates').to.equal(0)
  })
})
