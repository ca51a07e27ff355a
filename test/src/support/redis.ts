/**
 * A Redis server for a test, with its socket in a temporary folder. Commands go through the program
 * redis-cli, which Debian installs together with redis-server.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

/** The error of a failed start shows at most this many lines of the server's output. */
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
    const listenArgs = ['--port', '0', '--unixsocket', join(folder, 'socket')]
    // `--save ''` means that the server never writes its data to the disk.
    const dataArgs = ['--dir', folder, '--save', '']
    // `setpriv` makes the system kill the server when this process ends, even after a crash.
    const setprivArgs = ['--pdeathsig', 'KILL', 'redis-server', ...listenArgs, ...dataArgs]
    const server = spawn('setpriv', setprivArgs, { stdio: ['ignore', 'pipe', 'ignore'] })
    const lines: string[] = []
    for await (const line of createInterface(server.stdout)) {
      if (/ready to accept connections/i.test(line)) {
        // The return from the loop may pause the output. Then the output would fill the pipe and
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
