/** PgBouncer for a test: a pooler, which shares few PostgreSQL connections among many clients. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { freePort } from './freePort.js'
import { type Postgres, serverUserOptions } from './postgres.js'

export class PgBouncer {
  readonly port: number
  readonly #folder: string
  readonly #process: ChildProcess

  private constructor(port: number, folder: string, bouncer: ChildProcess) {
    this.port = port
    this.#folder = folder
    this.#process = bouncer
  }

  /** Resolves when the pooler accepts connections. */
  static async start(
    server: Postgres,
    mode: 'session' | 'transaction' | 'statement',
  ): Promise<PgBouncer> {
    const port = await freePort()
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-pgbouncer-'))
    // The user `nobody` must be able to read the settings.
    chmodSync(folder, 0o755)
    const file = join(folder, 'pgbouncer.ini')
    const settings = [
      '[databases]',
      `postgres = host=${server.host} port=${server.port} user=holdfast`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      // No Unix socket.
      'unix_socket_dir =',
      // No passwords.
      'auth_type = any',
      `pool_mode = ${mode}`,
      'default_pool_size = 20',
    ]
    writeFileSync(file, `${settings.join('\n')}\n`)
    // PgBouncer refuses to run as root, as PostgreSQL does. `setpriv` makes the system kill the
    // pooler when this process ends, even after a crash.
    const args = ['--pdeathsig', 'KILL', ...serverUserOptions, 'pgbouncer', file]
    const bouncer = spawn('setpriv', args, { stdio: ['ignore', 'ignore', 'pipe'] })
    const outputLines: string[] = []
    for await (const line of createInterface(bouncer.stderr)) {
      if (line.includes('process up')) {
        // Lets the rest of the output drain, because a full pipe would block the pooler.
        bouncer.stderr.resume()
        return new PgBouncer(port, folder, bouncer)
      }
      outputLines.push(line)
    }
    throw new Error(`PgBouncer did not start:\n${outputLines.join('\n')}`)
  }

  async stop(): Promise<void> {
    const exited = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exited
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
