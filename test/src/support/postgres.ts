/**
 * A PostgreSQL server for tests, with its data and its socket in a temporary folder. A test can
 * kill, freeze and restart the server, and make a standby that can replace the server. PostgreSQL
 * refuses to run as root, so a test that runs as root starts the server as the user `nobody`.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import postgres from 'postgres'
import type { Place } from './etcd.js'
import { freePort } from './freePort.js'

/** The id of the user `nobody`, and on Debian also of its group `nogroup`. */
const nobodyId = 65_534
const isRoot = process.getuid?.() === 0
/** The options of setpriv(1) that start a server as `nobody` if the tests run as root. */
export const serverUserOptions: readonly string[] = isRoot
  ? ['--reuid', `${nobodyId}`, '--regid', `${nobodyId}`, '--clear-groups']
  : []
/** The folder in which Debian installs the versions of PostgreSQL. */
const debianFolder = '/usr/lib/postgresql'
/** The user who administrates each server. */
const admin = 'holdfast'
const loopback: Place = { host: '127.0.0.1', command: [] }
/** The time between two checks of the state of a server, in ms. */
const pollMs = 20
/** How many lines of the output of a failed server the error message shows. */
const maxShownLines = 5
/** The folder with the data of a new server. Each server of this process copies the folder. */
let template: Promise<string> | undefined

/** The address of the server's Unix socket. */
export interface Address {
  /** The folder of the socket. */
  readonly host: string
  /** The number at the end of the socket's name, which equals the TCP port. */
  readonly port: number
  readonly user: string
}

export interface PostgresOptions {
  /** Where the server runs if not on the loopback of this machine. */
  readonly place?: Place | undefined
  /** Lines for the beginning of `pg_hba.conf`. The other lines let every user in. */
  readonly hba?: readonly string[] | undefined
  /** Further settings, such as `fsync=on`. */
  readonly settings?: readonly string[] | undefined
}

export type Sql = postgres.Sql

export class Postgres {
  readonly address: Address
  /** The host and port for connections by TCP. */
  readonly host: string
  readonly port: number
  readonly #folder: string
  readonly #place: Place
  readonly #settings: readonly string[]
  #process: ChildProcess | undefined
  #sql: Sql | undefined

  private constructor(folder: string, port: number, place: Place, settings: readonly string[]) {
    this.#folder = folder
    this.#place = place
    this.host = place.host
    this.port = port
    this.address = { host: folder, port, user: admin }
    this.#settings = settings
  }

  /** Resolves when the server accepts connections. */
  static async start(options: PostgresOptions = {}): Promise<Postgres> {
    const { place = loopback, settings = [], hba = [] } = options
    const folder = newFolder()
    const server = new Postgres(folder, await freePort(), place, settings)
    template ??= makeTemplate()
    await runAsServer('cp', ['-a', await template, server.data])
    allowAllAddresses(server.data, hba)
    await server.start()
    return server
  }

  /** The folder of the data. */
  get data(): string {
    return join(this.#folder, 'data')
  }

  /**
   * The address for the option `--log` of a broker.
   *
   * @param options.asUser The user who connects. Default: the administrator.
   * @param options.database Default `postgres`.
   */
  logUrl(
    schema: string,
    { asUser = admin, database = 'postgres' }: { asUser?: string; database?: string } = {},
  ): string {
    return `postgres://${asUser}@${this.host}:${this.port}/${database}?schema=${schema}&sslmode=disable`
  }

  /** Connections of the administrator, for a test that reads or changes the database directly. */
  get sql(): Sql {
    this.#sql ??= postgres({
      host: this.host,
      port: this.port,
      user: admin,
      database: 'postgres',
      max: 4,
      onnotice: () => {},
    })
    return this.#sql
  }

  /** Starts the server, each time on the same port. */
  async start(): Promise<void> {
    const settings = [
      `listen_addresses=${this.host}`,
      `port=${this.port}`,
      `unix_socket_directories=${this.#folder}`,
      'fsync=off',
      'max_connections=200',
      // How long a standby waits before it connects to a restarted primary again, in ms.
      'wal_retrieve_retry_interval=100',
      ...this.#settings,
    ]
    const args = ['-D', this.data, ...settings.flatMap((setting) => ['-c', setting])]
    const command = [...this.#place.command, 'setpriv', '--pdeathsig', 'KILL', ...serverUserOptions]
    const commandLine = [...command, pathOf('postgres'), ...args] as [string, ...string[]]
    const [program, ...programArgs] = commandLine
    const server = spawn(program, programArgs, {
      stdio: ['ignore', 'ignore', 'pipe'],
      cwd: this.#folder,
    })
    this.#process = server
    const outputLines: string[] = []
    for await (const line of createInterface(server.stderr)) {
      if (/ready to accept (read-only )?connections/.test(line)) {
        // Lets the rest of the output drain, because a full pipe would block the server.
        server.stderr.resume()
        return
      }
      outputLines.push(line)
    }
    throw new Error(`PostgreSQL did not start:\n${outputLines.slice(-maxShownLines).join('\n')}`)
  }

  /**
   * Starts a standby: a server that copies every commit of this server. The standby accepts only
   * reads until it is promoted, and runs until it is stopped.
   */
  async startStandby({ place = loopback, settings = [] }: PostgresOptions = {}): Promise<Postgres> {
    const folder = newFolder()
    const server = new Postgres(folder, await freePort(), place, settings)
    await server.copyFrom(this)
    return server
  }

  /** Deletes the data, copies the data of a primary, and starts as the standby of the primary. */
  async copyFrom(primary: Postgres): Promise<void> {
    rmSync(this.data, { recursive: true, force: true })
    const source = ['-h', primary.address.host, '-p', `${primary.port}`, '-U', admin]
    // The flag `-R` makes the copy a standby. With `-c fast`, the primary does not delay the copy.
    await runTool('pg_basebackup', [
      ...source,
      '-D',
      this.data,
      '-c',
      'fast',
      '--no-sync',
      '-X',
      'stream',
      '-R',
    ])
    const address = `host=${primary.host} port=${primary.port}`
    const line = `${address} user=${admin} application_name=standby`
    // The flag `-R` has written another `primary_conninfo`. PostgreSQL uses the last.
    appendFileSync(join(this.data, 'postgresql.auto.conf'), `primary_conninfo = '${line}'\n`)
    await this.start()
  }

  /** Makes this standby a primary. Resolves when the server accepts writes. */
  async promote(): Promise<void> {
    await runTool('pg_ctl', ['promote', '-D', this.data, '-w'])
  }

  /** Changes a setting of the running server. Resolves when the new value is in use. */
  async set(name: string, value: string): Promise<void> {
    await this.sql.unsafe(`alter system set ${name} = '${value}'`)
    await this.sql`select pg_reload_conf()`
    // The processes of the server read the new settings some time after this answer.
    for (;;) {
      const [row] = await this.sql.unsafe(`show ${name}`)
      if (row?.[name] === value) return
      await sleep(pollMs)
    }
  }

  /**
   * Copies a certificate and its key into the data folder. The server reads both files at a start
   * or a reload.
   */
  installCertificate(files: { readonly certPath: string; readonly keyPath: string }): void {
    for (const [from, name] of [
      [files.certPath, 'server.crt'],
      [files.keyPath, 'server.key'],
    ] as const) {
      const file = join(this.data, name)
      copyFileSync(from, file)
      if (isRoot) chownSync(file, nobodyId, nobodyId)
    }
  }

  /**
   * Ends the server and keeps its data. At SIGQUIT, the server ends its child processes itself,
   * without a clean-up. With SIGKILL, this method kills all processes, as a crash of the machine
   * does.
   */
  async end(signal: 'SIGQUIT' | 'SIGKILL' = 'SIGQUIT'): Promise<void> {
    const server = this.#process
    this.#process = undefined
    const sql = this.#sql
    this.#sql = undefined
    await sql?.end({ timeout: 0 })
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
    const children = childrenOf(server.pid!)
    const exited = once(server, 'exit')
    server.kill(signal)
    for (const child of signal === 'SIGKILL' ? children : []) signalProcess(child, 'SIGKILL')
    await exited
    // A new server refuses to start while a process of the former server lives.
    while (children.some(isAlive)) await sleep(pollMs)
  }

  /** Suspends all processes of the server by SIGSTOP: its connections stay open without answers. */
  freeze(): void {
    const { pid } = this.#process!
    // Suspends the main process first, so that it cannot start further child processes.
    signalProcess(pid!, 'SIGSTOP')
    for (const child of childrenOf(pid!)) signalProcess(child, 'SIGSTOP')
  }

  /** Continues the server and its child processes after a freeze. */
  thaw(): void {
    const { pid } = this.#process!
    for (const child of childrenOf(pid!)) signalProcess(child, 'SIGCONT')
    signalProcess(pid!, 'SIGCONT')
  }

  /** Ends the server and deletes its data. */
  async stop(): Promise<void> {
    // A server that is still frozen would not act on SIGQUIT.
    if (this.#process !== undefined) this.thaw()
    await this.end()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Makes a folder that the server may use. */
function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-pg-'))
  if (isRoot) chownSync(folder, nobodyId, nobodyId)
  return folder
}

/** Allows users and standbys to connect from each address. The given lines come first. */
function allowAllAddresses(data: string, firstLines: readonly string[]): void {
  const file = join(data, 'pg_hba.conf')
  const lastLines = ['host all all 0.0.0.0/0 trust', 'host replication all 0.0.0.0/0 trust']
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, [...firstLines, text, ...lastLines, ''].join('\n'))
}

/**
 * Makes the data of a new server. Resolves with the folder. Each server copies the folder, because
 * `initdb` takes a second, and a copy takes 0.1 s. The folder is removed when this process ends.
 */
async function makeTemplate(): Promise<string> {
  const folder = newFolder()
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const data = join(folder, 'data')
  await runTool('initdb', ['-D', data, '-U', admin, '-A', 'trust', '--no-sync', '--locale=C'])
  return data
}

/** Runs a program of PostgreSQL. */
function runTool(name: string, args: readonly string[]): Promise<void> {
  return runAsServer(pathOf(name), args)
}

/**
 * Runs a program as the user of the servers. Does not block, because clients may run in this
 * process.
 */
async function runAsServer(command: string, args: readonly string[]): Promise<void> {
  const options = isRoot ? { uid: nobodyId, gid: nobodyId } : {}
  await promisify(execFile)(command, args, { ...options, cwd: tmpdir() })
}

/** The ids of the children of a process; none if the process has ended. */
function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return text.split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

/** Whether a process runs. */
function isAlive(pid: number): boolean {
  // A process that has ended is in the state Z until its parent notices the end.
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** Sends a signal to a process, unless the process has ended. */
function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // The process has ended.
  }
}

/** The path of a program in Debian's newest PostgreSQL. Elsewhere its name, to find on the PATH. */
function pathOf(name: string): string {
  const versions = existsSync(debianFolder) ? readdirSync(debianFolder).map(Number) : []
  if (versions.length === 0) return name
  return join(debianFolder, String(Math.max(...versions)), 'bin', name)
}
