/**
 * Tests the demo. The demo must show the kill of a worker that holds a lock, and the grant of this
 * lock to a waiter. The demo must end by itself. A fence is the number of a grant.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

/** A printed event of the demo. */
interface Line {
  readonly name: string
  readonly action: string
  readonly key: string
  readonly fence: number | undefined
}

/** The actions of the printed events. A worker takes a lock at once, or waits and then gets it. */
const actions = 'asks|takes|waits|gets|unlocks|is killed|loses'
/** A line has a time, a name, an action and a key. The line of a grant also has a fence. */
const pattern = new RegExp(`^ +[\\d.]+ {2}(\\w+) +(${actions}) +(\\w+)(?: +fence (\\d+))?`)

/** Runs the demo; returns its exit code and the printed events. */
async function runDemo(...flags: readonly string[]): Promise<{ code: number; lines: Line[] }> {
  const path = fileURLToPath(new URL('./main.js', import.meta.url))
  // The pattern matches lines without colors.
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined }
  const demo = spawn(process.execPath, [path, ...flags], { stdio: ['ignore', 'pipe', 'pipe'], env })
  let output = ''
  demo.stdout.on('data', (chunk) => {
    output += chunk
  })
  demo.stderr.resume()
  const [code] = (await once(demo, 'close')) as [number]
  const lines = output.split('\n').flatMap((text): Line[] => {
    const [, name, action, key, fence] = pattern.exec(text) ?? []
    if (name === undefined || action === undefined || key === undefined) return []
    return [{ name, action, key, fence: fence === undefined ? undefined : Number(fence) }]
  })
  return { code, lines }
}

describe('the demo', () => {
  it('shows grants in the order of their fences, a kill, and the next grant to a waiter', async () => {
    const { code, lines } = await runDemo('--seconds', '2')
    expect(code).to.equal(0)
    const killIndex = lines.findIndex(({ action }) => action === 'is killed')
    expect(killIndex, 'a worker is killed').to.be.above(-1)
    const { name, key } = lines[killIndex]!
    const linesOfKey = lines.filter((line) => line.key === key)
    const killIndexOfKey = linesOfKey.indexOf(lines[killIndex]!)
    const waiting = waitingAfter(linesOfKey.slice(0, killIndexOfKey))
    expect(waiting).not.to.deep.equal([])
    // Other workers may ask and begin to wait between the kill, the loss and the grant.
    const isAsking = ({ action }: Line) => action === 'asks' || action === 'waits'
    const [loss, grant] = linesOfKey.slice(killIndexOfKey + 1).filter((line) => !isAsking(line))
    expect(loss).to.include({ name, action: 'loses' })
    expect(grant).to.include({ action: 'gets' })
    expect(grant?.name).to.be.oneOf(waiting)
    const laterLinesOfKilled = lines.slice(killIndex + 1).filter((line) => line.name === name)
    expect(laterLinesOfKilled.map(({ action }) => action)).to.deep.equal(['loses'])
    const fences = lines.flatMap(({ fence }) => fence ?? [])
    expect(fences).to.deep.equal([...fences].sort((a, b) => a - b))
  })

  it('refuses an invalid number of seconds', async () => {
    // The exit code of a wrong command line.
    expect((await runDemo('--seconds', 'soon')).code).to.equal(64)
  })
})

/** The workers that still wait after these events. */
function waitingAfter(events: readonly Line[]): string[] {
  const waiting: string[] = []
  for (const { name, action } of events) {
    if (action === 'waits') waiting.push(name)
    if (action === 'gets') waiting.splice(waiting.indexOf(name), 1)
  }
  return waiting
}
