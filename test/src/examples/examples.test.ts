/** The examples run as they are, each in a process of its own, and say what they promise. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
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

describe('the README of the client', () => {
  /** The code blocks of a section, as a module of this repository's root. */
  async function outputOfSection(heading: string, before = '', after = ''): Promise<string> {
    const root = new URL('../../../', import.meta.url)
    const page = await readFile(new URL('client/README.md', root), 'utf8')
    const section = page.split(/^(?=###? )/m).find((part) => part.startsWith(`${heading}\n`))
    const [, code] = /^```js\n(.*?)^```/ms.exec(section ?? '') ?? []
    const args = ['--input-type=module', '-e', `${before}${code}${after}`]
    const child = spawn(process.execPath, args, {
      cwd: fileURLToPath(root),
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (chunk) => {
      output += chunk
    })
    const [exit] = await once(child, 'close')
    expect(exit, output).to.equal(0)
    return output
  }

  it('has tests that pass, in its section about testing', async () => {
    expect(await outputOfSection('## Testing')).to.match(/\bpass 2$/m)
  })

  it('computes once for many callers, as it says', async () => {
    const before = `
      let made = 0
      const makeReport = async (fence) => { made++; return fence }
      const session = { withLock: async (key, callback) => callback({ fence: 7 }) }
    `
    const after = `
      const reports = await Promise.all([1, 2, 3, 4, 5].map(getReport))
      console.log(String(reports), made)
      await getReport()
      console.log(made)
    `
    const output = await outputOfSection('### One request for many callers', before, after)
    expect(output).to.equal('7,7,7,7,7 1\n2\n')
  })
})
