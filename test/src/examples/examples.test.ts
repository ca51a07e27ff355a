/** The examples run as they are, each in a process of its own, and say what they promise. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

/** Runs an example to its end; returns what it printed, line by line. */
async function outputOf(example: string): Promise<string[]> {
  const path = fileURLToPath(new URL(`./${example}.js`, import.meta.url))
  const child = spawn(process.execPath, [path], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  const [code] = await once(child, 'close')
  expect(code, 'it ends by itself, well').to.equal(0)
  return output.trimEnd().split('\n')
}

describe('examples', () => {
  it('basic: a lock at once or not at all', async () => {
    expect(await outputOf('basic')).to.deep.equal([
      'ann holds orders:42',
      'ben is told at once that it is held by ann',
      'ann has another 30 s, held: true',
      'ann gave it back, held: false',
      'now ben holds orders:42',
      'and nobody holds anything: 0',
    ])
  })

  it('waiting: first come, first served', async () => {
    expect(await outputOf('waiting')).to.deep.equal([
      'holder has the printer',
      'ann did not get it within 100 ms',
      'ann gave up: ABORTED',
      'holder gives it back',
      'ben prints a letter and holds it: true',
      'ben prints a poster and holds it: true',
      'ben prints a stamp and holds it: true',
    ])
  })

  it('singleflight: ten callers, one request', async () => {
    expect(await outputOf('singleflight')).to.deep.equal([
      'answers: 10 reports made: 1',
      'locks granted: 1 unlocked: 1',
      'after a late caller: 2',
    ])
  })

  it('monitoring: who holds, who waits, what happens', async () => {
    expect(await outputOf('monitoring')).to.deep.equal([
      'watching: 0 held at first',
      'event: locked jobs:nightly by ann',
      "jobs:nightly is held by ann { step: 'import' }",
      'jobs:nightly is wanted by ben',
      'event: unlocked jobs:nightly by ann',
      'event: locked jobs:nightly by ben',
      'event: unlocked jobs:nightly by ben',
      'locks: 2 active: 0 failed: 0',
      'success rate: 1',
    ])
  })
})
