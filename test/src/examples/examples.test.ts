/**
 * Runs the examples `basic`, `waiting`, `singleflight` and `monitoring`, each in a process of its
 * own, and compares the output. Also runs programs of the READMEs. Some of these programs use a
 * fence, which is the number of a grant.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { firstExample } from '../conventions/docs.js'
import { read } from '../conventions/repository.js'
import { Stage } from '../e2e/stage.js'

/** Runs an example to its end, and returns the lines of its output. */
async function linesOf(example: string): Promise<string[]> {
  const path = fileURLToPath(new URL(`./${example}.js`, import.meta.url))
  const child = spawn(process.execPath, [path], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  const [exitCode] = await once(child, 'close')
  expect(exitCode, 'the exit code').to.equal(0)
  return output.trimEnd().split('\n')
}

/** Runs Node with these arguments to its end, which must be a success. Returns the output. */
async function outputOfNode(args: readonly string[], cwd?: string): Promise<string> {
  const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  const [exitCode] = await once(child, 'close')
  expect(exitCode, output).to.equal(0)
  return output
}

describe('the example', () => {
  it('basic prints a lock that is granted immediately, and an error for a held lock', async () => {
    expect(await linesOf('basic')).to.deep.equal([
      'ann holds orders:42',
      'ben gets an error at once: the holder is ann',
      'ann has another 30 s, held: true',
      'ann unlocked, held: false',
      'now ben holds orders:42',
      'locks held at the end: 0',
    ])
  })

  it('waiting prints the grants in the order of the requests', async () => {
    expect(await linesOf('waiting')).to.deep.equal([
      'holder has the printer',
      'ann did not get it within 100 ms',
      'ann cancelled: ABORTED',
      'holder unlocks',
      'ben prints a letter and holds it: true',
      'ben prints a poster and holds it: true',
      'ben prints a stamp and holds it: true',
    ])
  })

  it('singleflight prints one grant for ten callers', async () => {
    expect(await linesOf('singleflight')).to.deep.equal([
      'answers: 10 reports made: 1',
      'locks granted: 1 unlocked: 1',
      'locks granted after a late caller: 2',
    ])
  })

  it('monitoring prints holders, waiters and events', async () => {
    expect(await linesOf('monitoring')).to.deep.equal([
      'watching: 0 held at first',
      'event: locked jobs:nightly by ann',
      "jobs:nightly is held by ann { step: 'import' }",
      'ben waits for jobs:nightly',
      'event: unlocked jobs:nightly by ann',
      'event: locked jobs:nightly by ben',
      'event: unlocked jobs:nightly by ben',
      'locks: 2 active: 0 failed: 0',
      'success rate: 1',
    ])
  })
})

describe('the first program', () => {
  const stage = Stage.forEachTest()

  /**
   * Runs the program that follows the comment `<!-- ${mark} -->` in a page. Without `mark`, runs
   * the program that follows `<!-- first example -->`. Saves the program to a file, as a user
   * would, and runs the file. Changes only the URL of the broker, because the port in that URL may
   * be in use.
   */
  async function outputOfPage(path: string, mark?: string): Promise<string> {
    const { url } = await stage.startBroker()
    const { code = '' } = firstExample(read(path), mark) ?? {}
    expect(code).to.include("'ws://127.0.0.1:7420'")
    // The program must be in a folder from which Node finds the packages.
    const temporary = new URL('../../tmp/', import.meta.url)
    await mkdir(temporary, { recursive: true })
    const folder = await mkdtemp(fileURLToPath(new URL('first-', temporary)))
    stage.onCleanUp(() => rm(folder, { recursive: true }))
    const file = join(folder, 'first.mjs')
    await writeFile(file, code.replace('ws://127.0.0.1:7420', url))
    return outputOfNode([file])
  }

  it('in README.md prints a lock and its fence', async () => {
    expect(await outputOfPage('README.md')).to.match(/^lock orders:42, fence \d+\n$/)
  })

  it('in client/README.md prints a lock, its fence and the result', async () => {
    const output = await outputOfPage('client/README.md', 'first session')
    expect(output).to.match(/^lock orders:42, fence \d+\ndone\n$/)
  })
})

describe('the README of the client', () => {
  /**
   * Runs the first code block of a section as a module in the root of this repository, between the
   * code `before` and the code `after`. Returns the output.
   */
  async function outputOfSection(heading: string, before = '', after = ''): Promise<string> {
    const root = new URL('../../../', import.meta.url)
    const page = await readFile(new URL('client/README.md', root), 'utf8')
    const section = page.split(/^(?=###? )/m).find((part) => part.startsWith(`${heading}\n`))
    const [, code] = /^```js\n(.*?)^```/ms.exec(section ?? '') ?? []
    const args = ['--input-type=module', '-e', `${before}${code}${after}`]
    return outputOfNode(args, fileURLToPath(root))
  }

  it('has two tests that pass, in its section about testing', async () => {
    // The test runner of Node ends its output with the number of tests that passed.
    expect(await outputOfSection('## Testing')).to.match(/\bpass 2$/m)
  })

  it('shows, in its section about singleflight, code that makes one report for many callers', async () => {
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
    // Five callers at the same time get one report with the fence 7. A later caller makes a second
    // report.
    const output = await outputOfSection('### One request for many callers', before, after)
    expect(output).to.equal('7,7,7,7,7 1\n2\n')
  })
})
