/**
 * Runs the examples of the page "Which kind of lock do I need?" (client/docs/kinds.md), each with a
 * broker and a session of its own.
 */
import { readFileSync } from 'node:fs'
import type { Session } from '@holdfast/client'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'

const page = readFileSync(new URL('../../../client/docs/kinds.md', import.meta.url), 'utf8')

/** The code of each example, by the name after "```js". */
const examples = new Map(
  Array.from(page.matchAll(/```js (\w+)\n(.*?)\n```/gs), ([, name, code]) => [name!, code!]),
)

const sessionName = 'example'

/** The results that the examples must return. */
const results: Readonly<Record<string, unknown>> = {
  permits: [1, 2, 3, 4, 5].map((frame) => `frame ${frame} with 1 of 3`),
  set: { 'account:1': 120, 'account:2': 80 },
  once: [1, ...Array(3).fill({ rows: 42, hasFence: true })],
  barrier: [
    ...['a prepared', 'b prepared', 'c prepared'],
    ...['a goes on', 'b goes on', 'c goes on'],
  ],
  upgrade: ['exclusive', true],
  scope: ['DEADLOCK', 'done'],
  convoy: ['LOCK_TIMEOUT', 'busy', true],
  maxHold: ['maxHold', false, true],
  onContended: [1, true],
  onQueued: [true, `0 before you; held by ${sessionName}`],
  queue: [1, 'unlocked ', 'dequeued granted', 'locked ', 'unlocked '],
  election: ['http://b', false],
}

type Example = (session: Session) => Promise<unknown>

/** Compiles the code of an example, which may contain `await` and `return`. */
function compile(code: string): Example {
  const AsyncFunction = (async () => {}).constructor as new (...args: string[]) => Example
  return new AsyncFunction('session', code)
}

/** The largest number of lines that an example of the page may have. */
const maxLines = 12

describe('the examples of client/docs/kinds.md', () => {
  const stage = Stage.forEachTest()

  it('each have an expected result', () => {
    expect([...examples.keys()].sort()).to.deep.equal(Object.keys(results).sort())
  })

  for (const [name, code] of examples) {
    it(`have at most twelve lines and return the expected result: ${name}`, async () => {
      expect(code.split('\n').length).to.be.at.most(maxLines)
      const { sessions } = await stage.startBrokerWithSessions(sessionName)
      expect(await compile(code)(sessions[0]!)).to.deep.equal(results[name])
    })
  }
})
