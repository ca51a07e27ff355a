/**
 * A look at a journal by a process that may die of it. LMDB believes what its pages say of
 * themselves, so damage in one of those ends whoever reads it with a signal rather than a sentence;
 * better that is not the broker.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { damaged } from './record.js'

const program = fileURLToPath(new URL('./probing.js', import.meta.url))

/** How long it may read, in ms: pages that point at each other in a circle have no end. */
const mostMs = 120_000

/**
 * Resolves when all of it could be read; what it says is not judged.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if whoever read it died of it.
 */
export async function probe(path: string): Promise<void> {
  const signal = await ending(path)
  if (signal !== undefined) throw damaged(`reading it ends with ${signal}`)
}

/** The signal that has ended the reader; undefined if none has, or there could be none. */
function ending(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    // What holds for how this process was started does not hold for a program of ours.
    const env = { ...process.env, NODE_OPTIONS: '', ELECTRON_RUN_AS_NODE: '1' }
    const reader = spawn(process.execPath, [program, path], {
      env,
      stdio: 'ignore',
      timeout: mostMs,
      killSignal: 'SIGKILL',
      windowsHide: true,
    })
    // Where nobody else can look, the broker finds out by itself.
    reader.once('error', () => resolve(undefined))
    reader.once('exit', (code, signal) => resolve(signal ?? crashIn(code ?? 0)))
  })
}

/** Windows has codes for what are signals elsewhere: from 0xC0000000 on. */
function crashIn(code: number): string | undefined {
  return code >>> 0 >= 0xc0000000 ? `code 0x${(code >>> 0).toString(16)}` : undefined
}
