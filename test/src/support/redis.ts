/**
 * A Redis server for a test, with its socket in a temporary folder. Commands go through redis-cli,
 * which Debian's redis-server brings along.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

/** The largest number of lines of server output in the error message of a failed start. */
const maxShownLines = 5

export class Redis {
  readonly #folder: string
  readonly #process: ChildProcess

  private constructor(folder: string, server: ChildProcess) {
    this.#folder = folder
    this.#process = server
  }

  /** Resolves when the server accepts connections. The server keeps its data in memory only. */
  static async start(): Promise<Redis> {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-redis-'))
    // Port 0 means that the server listens on the socket only.
    const args = ['--port', '0', '--unixsocket', join(folder, 'socket'), '--dir', folder]
    // `setpriv` makes the system kill the server when this process ends, even after a crash.
    const command = ['--pdeathsig', 'KILL', 'redis-server', ...args, '--save', '']
    const server = spawn('setpriv', command, { stdio: ['ignore', 'pipe', 'ignore'] })
    const lines: string[] = []
    for await (const line of createInterface(server.stdout)) {
      if (/ready to accept connections/i.test(line)) {
        // Lets later output drain. The end of the loop may pause the output, and a full pipe would
        // block Redis.
        server.stdout.resume()
        return new Redis(folder, server)
      }
      lines.push(line)
    }
    rmSync(folder, { recursive: true, force: true })
    throw new Error(`Redis did not start:\n${lines.slice(-maxShownLines).join('\n')}`)
  }

  /** Runs a command, and resolves with the answer as text. Rejects if Redis answers an error. */
  async command(...words: readonly string[]): Promise<string> {
    // With `-e`, redis-cli fails if Redis answers an error.
    const args = ['-e', '-s', join(this.#folder, 'socket'), ...words]
    const { stdout } = await promisify(execFile)('redis-cli', args)
    return stdout.trimEnd()
  }

  async stop(): Promise<void> {
    const exited = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exited
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
