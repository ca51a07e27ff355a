/**
 * A PostgreSQL server for one test, with its data and its socket in a temporary folder. Root must
 * not run PostgreSQL, so root runs it as the user `nobody`.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** The ids of `nobody` and `nogroup` on Debian. */
const nobody = { uid: 65_534, gid: 65_534 }
const debianFolder = '/usr/lib/postgresql'

/** How a client connects to the server. */
export interface Address {
  /** The folder of the socket. */
  readonly host: string
  readonly user: string
}

export class Postgres {
  readonly address: Address
  readonly #folder: string
  readonly #process: ChildProcess

  private constructor(folder: string, server: ChildProcess) {
    this.#folder = folder
    this.#process = server
    this.address = { host: folder, user: 'holdfast' }
  }

  static async start(): Promise<Postgres> {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-pg-'))
    const isRoot = process.getuid?.() === 0
    if (isRoot) chownSync(folder, nobody.uid, nobody.gid)
    const data = join(folder, 'data')
    const options = { ...(isRoot ? nobody : {}), cwd: folder }
    const initdb = ['-D', data, '-U', 'holdfast', '-A', 'trust', '--no-sync', '--locale=C']
    execFileSync(program('initdb'), initdb, { ...options, stdio: 'ignore' })
    const settings = ['listen_addresses=', `unix_socket_directories=${folder}`, 'fsync=off']
    const flags = settings.flatMap((setting) => ['-c', setting])
    const server = spawn(program('postgres'), ['-D', data, ...flags], {
      ...options,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    for await (const line of createInterface(server.stderr)) {
      if (line.includes('ready to accept connections')) break
    }
    server.stderr.resume()
    return new Postgres(folder, server)
  }

  async stop(): Promise<void> {
    const exited = once(this.#process, 'exit')
    // Immediate shutdown, because the data is not needed any more.
    this.#process.kill('SIGQUIT')
    await exited
    rmSync(this.#folder, { recursive: true })
  }
}

/**
 * Returns the path of the program in the newest version on Debian, or its name if the program is on
 * the PATH.
 */
function program(name: string): string {
  const versions = existsSync(debianFolder) ? readdirSync(debianFolder).map(Number) : []
  if (versions.length === 0) return name
  return join(debianFolder, String(Math.max(...versions)), 'bin', name)
}
