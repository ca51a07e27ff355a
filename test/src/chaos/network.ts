/**
 * The network between clients, brokers and etcd's members, on which any two can be cut off from
 * each other without being told: what they send gets lost. Each is a machine of its own where this
 * one has network namespaces; where it has not, proxies stand between those that can have one.
 */
import { TcpProxy } from '../faults/proxy.js'
import { Valve } from '../faults/valve.js'
import type { Place } from '../support/etcd.js'
import { freeNet, ip, nobody } from '../support/network.js'

/** Somebody on the network. */
export type Party = 'clients' | `broker${number}` | `member${number}`

export interface Network {
  /** Whether this pair can be cut off from each other. */
  reaches(a: Party, b: Party): boolean
  cut(a: Party, b: Party): void
  /** Everybody reaches everybody again. */
  mend(): void
  placeOf(party: Party): Place
  /** The address by which `from` reaches what `to` has at this address. */
  address(from: Party, to: Party, url: string): Promise<string>
  close(): Promise<void>
}

let made = 0

/** Namespaces on a bridge. Needs root. */
export class Namespaces implements Network {
  readonly #parties: readonly Party[]
  readonly #bridge: string
  readonly #names: ReadonlyMap<Party, string>
  readonly #net = freeNet()
  #cuts: (readonly [Party, Party])[] = []

  constructor(parties: readonly Party[]) {
    const id = `${process.pid % 100_000}${made++}`
    this.#parties = ['clients', ...parties]
    this.#bridge = `hfb${id}`
    this.#names = new Map(parties.map((party, i) => [party, `hfc${id}n${i}`]))
    ip('link', 'add', this.#bridge, 'address', this.#macOf('clients'), 'type', 'bridge')
    ip('address', 'add', `${this.#hostOf('clients')}/24`, 'dev', this.#bridge)
    ip('link', 'set', this.#bridge, 'up')
    for (const [party, name] of this.#names) this.#add(party, name)
    // By no request for addresses, which a cut would have to lose as well.
    this.mend()
    for (const a of this.#parties) for (const b of this.#parties) this.#lead(a, b, this.#macOf(b))
  }

  reaches(): boolean {
    return true
  }

  cut(a: Party, b: Party): void {
    this.#cuts.push([a, b])
    this.#lead(a, b, nobody)
    this.#lead(b, a, nobody)
  }

  mend(): void {
    for (const [a, b] of this.#cuts.splice(0)) {
      this.#lead(a, b, this.#macOf(b))
      this.#lead(b, a, this.#macOf(a))
    }
  }

  placeOf(party: Party): Place {
    const name = this.#names.get(party)
    const command = name === undefined ? [] : ['ip', 'netns', 'exec', name]
    return { host: this.#hostOf(party), command }
  }

  async address(_from: Party, _to: Party, url: string): Promise<string> {
    return url
  }

  async close(): Promise<void> {
    for (const name of this.#names.values()) ip('netns', 'delete', name)
    ip('link', 'delete', this.#bridge)
  }

  #add(party: Party, name: string): void {
    const mac = this.#macOf(party)
    ip('netns', 'add', name)
    const far = ['name', 'eth0', 'address', mac, 'netns', name]
    ip('link', 'add', 'name', name, 'type', 'veth', 'peer', ...far)
    ip('link', 'set', name, 'master', this.#bridge, 'up')
    ip('-n', name, 'address', 'add', `${this.#hostOf(party)}/24`, 'dev', 'eth0')
    ip('-n', name, 'link', 'set', 'eth0', 'up')
    ip('-n', name, 'link', 'set', 'lo', 'up')
  }

  /** Where packets from one to the other are sent. */
  #lead(from: Party, to: Party, mac: string): void {
    if (from === to) return
    const name = this.#names.get(from)
    const within = name === undefined ? [] : ['-n', name]
    const device = name === undefined ? this.#bridge : 'eth0'
    const what = [this.#hostOf(to), 'lladdr', mac, 'dev', device, 'nud', 'permanent']
    ip(...within, 'neigh', 'replace', ...what)
  }

  #hostOf(party: Party): string {
    return `${this.#net}.${this.#parties.indexOf(party) + 1}`
  }

  #macOf(party: Party): string {
    return `02:00:00:00:00:0${this.#parties.indexOf(party) + 1}`
  }
}

/** Proxies on loopback, for all pairs but those of etcd's members. */
export class Proxies implements Network {
  readonly #proxies: TcpProxy[] = []
  readonly #valves = new Map<string, Valve>()
  readonly #shut: Valve[] = []

  reaches(a: Party, b: Party): boolean {
    return this.#valves.has(`${a} ${b}`) || this.#valves.has(`${b} ${a}`)
  }

  cut(a: Party, b: Party): void {
    const valve = this.#valves.get(`${a} ${b}`) ?? this.#valves.get(`${b} ${a}`)
    if (valve === undefined) throw new Error(`there is nothing between ${a} and ${b}`)
    valve.shut()
    this.#shut.push(valve)
  }

  mend(): void {
    for (const valve of this.#shut.splice(0)) valve.open()
  }

  placeOf(): Place {
    return { host: '127.0.0.1', command: [] }
  }

  async address(from: Party, to: Party, url: string): Promise<string> {
    const valve = new Valve()
    this.#valves.set(`${from} ${to}`, valve)
    const treatment = { up: valve.filter, down: valve.filter }
    const proxy = await TcpProxy.to(Number(new URL(url).port), () => treatment)
    this.#proxies.push(proxy)
    return `${new URL(url).protocol}//${new URL(proxy.url).host}`
  }

  async close(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.close()))
  }
}
