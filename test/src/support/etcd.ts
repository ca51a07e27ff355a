/**
 * An etcd cluster for one test: real members of Debian's etcd-server in a temporary folder, on free
 * ports. The cluster ends when the test stops it, or when the process of the test ends. Members can
 * be killed, frozen, thawed and started again.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from './freePort.js'

/**
 * Flags that suit a lock service: the members notice a lost leader after 500 to 1,000 ms, and a
 * member that returns does not replace the leader.
 */
const electionFlags = ['--heartbeat-interval', '50', '--election-timeout', '500', '--pre-vote']
/** The time between two rounds of requests that ask each member who the leader is, in ms. */
const pollMs = 50
/** The timeout of a request for the status of a member, in ms. */
const statusTimeoutMs = 1_000
/** The timeout of any other request, in ms: long, because a busy etcd hashes passwords slowly. */
const requestTimeoutMs = 30_000
/** The largest number of output lines in the error message of a failed start. */
const maxShownLines = 5

export interface ClusterOptions {
  /** The number of members if `places` is not set. Default 3. */
  readonly members?: number | undefined
  /**
   * Whether members use TLS for clients. With TLS, the method `leader` does not resolve, because
   * its requests do not trust the certificate.
   */
  readonly tls?: boolean | undefined
  /** Further flags of each member. */
  readonly flags?: readonly string[] | undefined
  /** One place for each member. Default: the loopback address of this machine for all members. */
  readonly places?: readonly Place[] | undefined
}

/** A machine or a network namespace in which a program runs. */
export interface Place {
  /** The address of the place. */
  readonly host: string
  /** The first words of a command line that runs a program in this place; none for loopback. */
  readonly command: readonly string[]
}

const loopback: Place = { host: '127.0.0.1', command: [] }

interface Status {
  /** `member_id` is the id of the member that answers. */
  readonly header: { readonly member_id: string; readonly revision: string }
  /** The id of the leader, if the member knows a leader. */
  readonly leader?: string
}

export class EtcdCluster {
  readonly members: readonly EtcdMember[]
  readonly #folder: string

  private constructor(members: readonly EtcdMember[], folder: string) {
    this.members = members
    this.#folder = folder
  }

  static async start(options: ClusterOptions = {}): Promise<EtcdCluster> {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-etcd-'))
    const places = options.places ?? Array.from({ length: options.members ?? 3 }, () => loopback)
    // Member i has `ports[2 * i]` for clients and `ports[2 * i + 1]` for the other members.
    const ports = await Promise.all(Array.from({ length: places.length * 2 }, freePort))
    const scheme = options.tls === true ? 'https' : 'http'
    const peerUrls = places.map(({ host }, i) => `http://${host}:${ports[2 * i + 1]}`)
    const peers = peerUrls.map((url, i) => `m${i}=${url}`)
    const members = places.map(
      (place, i) =>
        new EtcdMember(place, `${scheme}://${place.host}:${ports[2 * i]}`, [
          ...['--name', `m${i}`, '--data-dir', join(folder, `m${i}`), ...electionFlags],
          ...['--listen-peer-urls', peerUrls[i]!],
          ...['--initial-advertise-peer-urls', peerUrls[i]!],
          ...['--initial-cluster', peers.join(','), '--initial-cluster-token', folder],
          ...(options.flags ?? []),
        ]),
    )
    const cluster = new EtcdCluster(members, folder)
    try {
      await Promise.all(members.map((member) => member.start()))
    } catch (error) {
      await cluster.stop()
      throw error
    }
    return cluster
  }

  get endpoints(): string[] {
    return this.members.map(({ endpoint }) => endpoint)
  }

  /**
   * Returns the address of the cluster for the option `--log` of a broker. Call only for a cluster
   * without TLS.
   */
  logUrl(prefix: string): string {
    return `etcd://${this.endpoints.map((endpoint) => endpoint.slice('http://'.length)).join(',')}/${prefix}`
  }

  /** Resolves with the leader as soon as a majority of the members knows the leader. */
  async leader(): Promise<EtcdMember> {
    for (;;) {
      const running = this.members.filter(({ isRunning }) => isRunning)
      const statuses = await Promise.all(running.map((member) => member.status()))
      const answers = statuses.flatMap((status, i) =>
        status ? [{ status, member: running[i]! }] : [],
      )
      for (const { status, member } of answers) {
        const memberId = status.header.member_id
        const followedBy = answers.filter((other) => other.status.leader === memberId)
        if (followedBy.length * 2 > this.members.length) return member
      }
      await sleep(pollMs)
    }
  }

  /** A running member that is not the leader. */
  async follower(): Promise<EtcdMember> {
    const leader = await this.leader()
    return this.members.find((member) => member !== leader && member.isRunning)!
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

export class EtcdMember {
  readonly endpoint: string
  readonly #place: Place
  readonly #flags: readonly string[]
  #process: ChildProcess | undefined
  #isFrozen = false

  constructor(place: Place, endpoint: string, flags: readonly string[]) {
    this.endpoint = endpoint
    this.#place = place
    const urls = ['--listen-client-urls', endpoint, '--advertise-client-urls', endpoint]
    this.#flags = [...urls, ...flags]
  }

  /** Whether the member runs and is not frozen. */
  get isRunning(): boolean {
    return this.#process !== undefined && !this.#isFrozen
  }

  /** Resolves when the member is part of a cluster with a leader. */
  async start(): Promise<void> {
    // `setpriv` makes the system kill the member when this process ends, even after a crash.
    const command = [...this.#place.command, 'setpriv', '--pdeathsig', 'KILL', 'etcd']
    const [program, ...args] = [...command, ...this.#flags] as [string, ...string[]]
    const member = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#process = member
    this.#isFrozen = false
    const outputLines: string[] = []
    for await (const line of createInterface(member.stderr)) {
      if (line.includes('ready to serve client requests')) {
        // Lets the rest of the output drain, because a full pipe would block the member.
        member.stderr.resume()
        return
      }
      outputLines.push(line)
    }
    // `kill` and a new `start` may have replaced the process in the meantime.
    if (this.#process === member) this.#process = undefined
    throw new Error(`etcd did not start:\n${outputLines.slice(-maxShownLines).join('\n')}`)
  }

  /** Kills the member by SIGKILL. */
  async kill(): Promise<void> {
    const member = this.#process
    if (member === undefined) return
    this.#process = undefined
    if (member.exitCode !== null || member.signalCode !== null) return
    const exited = once(member, 'exit')
    member.kill('SIGKILL')
    await exited
  }

  /** Suspends the member by SIGSTOP: its connections stay open without answers. */
  freeze(): void {
    this.#process?.kill('SIGSTOP')
    this.#isFrozen = true
  }

  /** Continues the process after a freeze. */
  thaw(): void {
    this.#process?.kill('SIGCONT')
    this.#isFrozen = false
  }

  /** Resolves with the status of the member; undefined if the member does not answer. */
  async status(): Promise<Status | undefined> {
    try {
      return await this.ask<Status>('/v3/maintenance/status', {}, {}, statusTimeoutMs)
    } catch {
      return undefined
    }
  }

  /** Sends a request to the member's gateway from JSON to gRPC. */
  async ask<T>(
    path: string,
    body: object,
    headers: Record<string, string> = {},
    timeoutMs = requestTimeoutMs,
  ): Promise<T> {
    const response = await fetch(`${this.endpoint}${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    })
    if (!response.ok)
      throw new Error(`etcd answered ${path} with ${response.status}: ${await response.text()}`)
    return (await response.json()) as T
  }
}
