/**
 * The demo shows a pushed grant, a kill, and the grant to the next waiter, and ends by itself.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

interface Line {
  readonly name: string
  readonly deed: string
  readonly key: string
  readonly fence: number | undefined
}

const deeds = 'asks|takes|waits|is pushed|unlocks|is killed|loses'
const pattern = new RegExp(`^ +[\\d.]+ {2}(\\w+) +(${deeds}) +(\\w+)(?: +fence (\\d+))?`)

/** Runs the demo; returns its exit code and the printed events. */
async function run(...flags: readonly string[]): Promise<{ code: number; lines: Line[] }> {
  const path = fileURLToPath(new URL('./main.js', import.meta.url))
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined }
  const demo = spawn(process.execPath, [path, ...flags], { stdio: ['ignore', 'pipe', 'pipe'], env })
  let output = ''
  demo.stdout.on('data', (chunk) => {
    output += chunk
  })
  demo.stderr.resume()
  const [code] = (await once(demo, 'close')) as [number]
  const lines = output.split('\n').flatMap((text): Line[] => {
    const [, name, deed, key, fence] = pattern.exec(text) ?? []
    if (name === undefined || deed === undefined || key === undefined) return []
    return [{ name, deed, key, fence: fence === undefined ? undefined : Number(fence) }]
  })
  return { code, lines }
}

describe('the demo', () => {
  it('shows pushed grants in order, a kill, and the grant to the next waiter', async () => {
    const { code, lines } = await run('--seconds', '2')
    expect(code).to.equal(0)
    const killed = lines.findIndex(({ deed }) => deed === 'is killed')
    expect(killed, 'a worker is killed').to.be.above(-1)
    const { name, key } = lines[killed]!
    const ofKey = lines.filter((line) => line.key === key)
    const at = ofKey.indexOf(lines[killed]!)
    const waiting = waitingBefore(ofKey.slice(0, at))
    expect(waiting).not.to.deep.equal([])
    const after = ofKey.slice(at + 1).filter(({ deed }) => deed !== 'asks' && deed !== 'waits')
    expect(after[0]).to.include({ name, deed: 'loses' })
    expect(after[1]).to.include({ deed: 'is pushed' })
    expect(after[1]?.name).to.be.oneOf(waiting)
    const laterOfVictim = lines.slice(killed + 1).filter((line) => line.name === name)
    expect(laterOfVictim.map(({ deed }) => deed)).to.deep.equal(['loses'])
    const fences = lines.flatMap(({ fence }) => fence ?? [])
    expect(fences).to.deep.equal([...fences].sort((a, b) => a - b))
  })

  it('refuses an invalid time', async () => {
    expect((await run('--seconds', 'soon')).code).to.equal(64)
  })
})

/** The workers that still wait after these events. */
function waitingBefore(events: readonly Line[]): string[] {
  const waiting: string[] = []
  for (const { name, deed } of events) {
    if (deed === 'waits') waiting.push(name)
    if (deed === 'is pushed') waiting.splice(waiting.indexOf(name), 1)
  }
  return waiting
}
