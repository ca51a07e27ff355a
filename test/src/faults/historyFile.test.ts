/**
 * Tests the files with histories of locks, and the program that searches them for violations. A
 * tenure is one use of a lock by one process; a fence is the number of a grant. The capacity of a
 * key is the number of permits that the users of the key may hold together.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { makeScratchFolder } from '../ops/scratch.js'
import { quickOrFull, Random, seed } from '../support/counts.js'
import type { Observation } from './electionHistory.js'
import { findOverlaps, isLinearizable, type Tenure } from './history.js'
import {
  formatHistories,
  InvalidHistory,
  judgeHistory,
  type KeyHistory,
  parseHistories,
} from './historyFile.js'

/**
 * Makes a tenure.
 *
 * @param times When the process requested the lock, got it, gave it up, and its unlock was
 *   confirmed.
 */
const tenure = (process: string, fence: number, ...times: readonly number[]): Tenure => {
  const [requestedAt, grantedAt, givenUpAt, confirmedAt] = times.map(BigInt)
  const required = { requestedAt: requestedAt!, grantedAt: grantedAt!, givenUpAt: givenUpAt! }
  return { process, fence, ...required, unlockConfirmedAt: confirmedAt }
}

const validTenures = [
  tenure('a', 1, 0, 1, 2, 3),
  tenure('b', 2, 0, 3, 5),
  tenure('a', 3, 4, 6, 7, 8),
]

const historyOf = (tenures: readonly Tenure[], capacity?: number): KeyHistory => {
  return { key: 'k', capacity, tenures, publications: [], observations: [] }
}

/**
 * An election that the observer `o` saw. `a` won with fence 1, `b` with fence 2, and `c` with fence
 * 3. `c` never received its grant, so `c` has no tenure.
 */
const election: KeyHistory = {
  ...historyOf([tenure('a', 1, 0, 10, 20, 22), tenure('b', 2, 5, 30, 40, 42)]),
  publications: [
    { process: 'a', value: 'a 0', publishedAt: 0n, fence: 1 },
    { process: 'b', value: 'b 0', publishedAt: 5n, fence: 2 },
    { process: 'a', value: 'a 1', publishedAt: 15n, fence: 1 },
    { process: 'c', value: 'c 0', publishedAt: 50n, fence: undefined },
  ],
  observations: [
    { observer: 'o', seenAt: 4n, leader: undefined },
    { observer: 'o', seenAt: 12n, leader: { fence: 1, value: 'a 0' } },
    { observer: 'o', seenAt: 17n, leader: { fence: 1, value: 'a 1' } },
    { observer: 'o', seenAt: 24n, leader: undefined },
    { observer: 'o', seenAt: 33n, leader: { fence: 2, value: 'b 0' } },
    { observer: 'o', seenAt: 60n, leader: { fence: 3, value: 'c 0' } },
  ],
}

describe('a file with a history of locks', () => {
  it('has every field of the history, so that reading the file returns the same history', () => {
    const histories = [
      historyOf(validTenures),
      { ...historyOf([{ ...validTenures[0]!, permits: 2 }], 2), key: 'p' },
      { ...election, key: 'election' },
    ]
    expect(parseHistories(formatHistories(histories))).to.deep.equal(histories)
  })

  /** A valid line, with requestedAt "0" and grantedAt "1". Each test below adds an invalid line. */
  const line = formatHistories([historyOf([validTenures[0]!])])
  const invalid: [problem: string, text: string, message: string][] = [
    ['text that is not JSON', 'no', 'Line 2: it must be JSON'],
    ['an array', '[]', 'Line 2: it must be an object'],
    ['an unknown field', '{"lock":1}', 'Line 2: unknown field "lock"'],
    ['a missing fence', line.replace('"fence":1,', ''), 'Line 2: fence must be a positive'],
    ['a time that is no integer', line.replace('"1"', '1.5'), 'grantedAt must be a time in ns'],
    ['a grant before its request', line.replace('"0"', '"2"'), 'grantedAt is before requestedAt'],
    ['a publication without a value', '{"key":"k","process":"a","publishedAt":1}', 'value must be'],
    ['a leader without a fence', '{"key":"k","observer":"o","seenAt":1,"value":"a"}', 'fence must'],
    ['a field of another kind of line', '{"key":"k","observer":"o","permits":1}', '"permits"'],
    ['a changed capacity', line.replace('{', '{"capacity":2,'), 'the capacity of a key must not'],
  ]
  for (const [problem, text, message] of invalid) {
    it(`is refused for ${problem}`, () => {
      expect(() => parseHistories(`${line}${text}\n`)).to.throw(InvalidHistory, message)
    })
  }
})

describe('the check of a history (judgeHistory)', () => {
  const judge = (...tenures: Tenure[]) => judgeHistory(historyOf(tenures))

  it('accepts a history without violations, in any order of its lines', () => {
    expect(judge(...validTenures)).to.deep.equal([])
    expect(judge(...[...validTenures].reverse())).to.deep.equal([])
  })

  it('finds two holders, repeated fences, and fences that do not rise', () => {
    expect(judge(tenure('a', 1, 0, 1, 5), tenure('b', 2, 2, 3, 4)).join()).to.include('both held')
    expect(judge(tenure('a', 1, 0, 1, 2), tenure('b', 1, 3, 4, 5)).join()).to.include(
      'the same fence twice',
    )
    expect(judge(tenure('a', 2, 0, 1, 2), tenure('b', 1, 3, 4, 5)).join()).to.include(
      'the later request has the lower fence',
    )
  })

  it('finds more permits than the capacity', () => {
    // A tenure without the field `permits` has one permit.
    const tenures = [tenure('a', 1, 0, 1, 5), tenure('b', 2, 0, 2, 5)]
    expect(judgeHistory(historyOf(tenures, 2))).to.deep.equal([])
    expect(judgeHistory(historyOf(tenures, 1)).join()).to.include('2 permits were held')
  })

  it('accepts an election in which a leader never received its grant', () => {
    expect(judgeHistory(election)).to.deep.equal([])
  })

  /** An observation by `p`. Without `fence`, the observer saw that no session led. */
  const seen = (seenAt: number, fence?: number, value = ''): Observation => {
    const leader = fence === undefined ? undefined : { fence, value }
    return { observer: 'p', seenAt: BigInt(seenAt), leader }
  }
  const wrongObservations: [problem: string, observations: Observation[], message: string][] = [
    ['a value that no candidate published', [seen(12, 1, 'x')], 'no candidate published'],
    ['a value before its publication', [seen(12, 1, 'a 1')], 'which a published later'],
    ['the value of another leader', [seen(33, 2, 'a 1')], 'with which b led, but a published it'],
    ['a value with a fence that is too high', [seen(70, 9, 'b 0')], 'b published it with fence 2'],
    ['a fence that falls', [seen(33, 2, 'b 0'), seen(34, 1, 'a 1')], 'after the higher fence 2'],
    [
      'values in the wrong order',
      [seen(18, 1, 'a 1'), seen(19, 1, 'a 0')],
      'the later value "a 1"',
    ],
    ['a leader while an earlier leader leads', [seen(19, 2, 'b 0')], 'a still led with fence 1'],
    [
      'no leader while the leader that it saw before still leads',
      [seen(12, 1, 'a 0'), seen(19)],
      'p saw no leader after fence 1, but a still led with fence 1',
    ],
  ]
  for (const [problem, observations, message] of wrongObservations) {
    it(`finds that an observer saw ${problem}`, () => {
      const violations = judgeHistory({ ...election, observations })
      expect(violations).to.have.length(1)
      expect(violations[0]).to.include(message)
    })
  }

  it('finds an overlap exactly if no linear order exists', () => {
    const random = new Random(seed)
    const results = new Set<boolean>()
    for (let i = 0; i < quickOrFull(300, 3_000); i++) {
      // Long tenures nearly always overlap, and short tenures seldom, so both results are frequent.
      const maxDuration = random.pick([8, 40])
      const tenures = Array.from({ length: 4 }, (_, n) => {
        const start = random.below(40)
        // `* 4 + n` gives two tenures no equal times: a real clock in ns does not repeat a time.
        const times = Array.from({ length: 4 }, () => (start + random.below(maxDuration)) * 4 + n)
        return tenure(`p${n}`, n + 1, ...times.sort((a, b) => a - b))
      })
      const distinct = new Set(
        tenures.flatMap(({ requestedAt, grantedAt, givenUpAt }) => [
          requestedAt,
          grantedAt,
          givenUpAt,
        ]),
      )
      // Skips the history if two of these three times of one tenure are equal.
      if (distinct.size < 12) continue
      const hasNoOverlap = findOverlaps(tenures).length === 0
      results.add(hasNoOverlap)
      expect(
        isLinearizable(tenures),
        JSON.stringify(tenures, (_, value) => String(value)),
      ).to.equal(hasNoOverlap)
    }
    // Some histories have an overlap, and some have none.
    expect(results.size).to.equal(2)
  })
})

describe('npm run check-history', () => {
  const stage = Stage.forEachTest()
  const program = fileURLToPath(new URL('./checkHistory.js', import.meta.url))

  /** Runs the program of `npm run check-history` on a file with this text. */
  function check(text: string) {
    const file = makeScratchFolder(stage).write('history.jsonl', text)
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, file], {
      encoding: 'utf8',
    })
    return { status, out: `${stdout}${stderr}` }
  }

  it('exits 0 if it finds no violation, 1 if it finds one, and 65 if the format is wrong', () => {
    const text = (tenures: readonly Tenure[]) => formatHistories([historyOf(tenures)])
    expect(check(text(validTenures))).to.deep.equal({ status: 0, out: 'k: 3 uses, 0 violations\n' })
    const overlapping = check(text([...validTenures, tenure('c', 4, 0, 1, 9)]))
    expect(overlapping.status).to.equal(1)
    expect(overlapping.out).to.match(/^VIOLATION k: /m)
    const wrong = check('# a comment\n')
    expect(wrong.status).to.equal(65)
    expect(wrong.out).to.match(/history\.jsonl: Line 1: it must be JSON\n$/)
  })
})
