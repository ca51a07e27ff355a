/**
 * Tests that the programs for developers refuse a wrong number. A program that accepted `abc` as
 * the number of rounds would check nothing and succeed.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

/**
 * Options with wrong values. In the list `0,b`, only the last item is wrong. `bound` is a part of
 * the message, or empty without a limit.
 */
const wrongOptions: [program: string, option: string, value: string, bound: string][] = [
  ['chaos/main.js', 'rounds', 'abc', ' of at least 1'],
  ['chaos/main.js', 'rounds', '0', ' of at least 1'],
  ['chaos/main.js', 'seed', '', ''],
  ['log/crashesMain.js', 'rounds', 'two', ' of at least 1'],
  ['log/crashesMain.js', 'seed', '1e', ''],
  ['mutants/main.js', 'seeds', '0', ' of at least 1'],
  ['sim/main.js', 'seeds', '5k', ' of at least 1'],
  ['sim/main.js', 'clients', '0,b', ' of at least 0'],
  ['soak/main.js', 'users', 'four', ' of at least 1'],
]

describe('a program for developers', () => {
  for (const [program, option, value, bound] of wrongOptions) {
    it(`${program} refuses --${option}=${value}`, () => {
      const path = fileURLToPath(new URL(`../${program}`, import.meta.url))
      const result = spawnSync(process.execPath, [path, `--${option}=${value}`], {
        encoding: 'utf8',
      })
      const wrong = JSON.stringify(value.split(',').at(-1))
      expect(result.stderr).to.equal(`--${option} must be a number${bound}, not ${wrong}\n`)
      expect(result.status).to.equal(64)
    })
  }
})
