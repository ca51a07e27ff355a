/**
 * The network between the clients, the brokers and the members of the storage (etcd or PostgreSQL).
 * Two machines can be cut off from each other: their packets get lost, and no machine is notified.
 * If network namespaces are available, each broker and each member has its own namespace. If not,
 * proxies connect the clients to the brokers and the brokers to the storage.
 */
import { TcpProxy } from '../faults/proxy.js'
import { Valve } from '../faults/valve.js'
import type { Place } from '../support/etcd.js'
import { freeNet, ip, unreachableMac } from '../support/network.js'

/** A machine on the network. */
export type Machine = 'clients' | `broker${number}` | `member${number}`

export interface Network {
  /** Whether these two machines can be cut off from each other. */
  canCut(a: Machine, b: Machine): boolean
  cut(a: Machine, b: Machine): void
  /** Ends all cuts. */
  mend(): void
  /** Returns the IP address of a machine, and the command prefix that runs a program on it. */
  placeOf(machine: Machine): Place
  /**
   * Resolves with the URL by which the machine `from` reaches `url`, which is a URL on the machine
   * `to`. May start a proxy between the two machines.
   */
  address(from: Machine, to: Machine, url: string): Promise<string>
  close(): Promise<void>
}

let networkCount = 0

/** Network namespaces that are connected by a bridge. Needs root. */
export class NamespaceNetwork implements Network {
  readonly #machines: readonly Machine[]
  readonly #bridge: string
  /** The namespace of each machine, except `clients`, which runs outside of all namespaces. */
  readonly #namespaces: ReadonlyMap<Machine, string>
  readonly #subnet = freeNet()
  #cuts: (readonly [Machine, Machine])[] = []

  constructor(machines: readonly Machine[]) {
    // The name of a network device has at most 15 characters, so the id must be short.
    const id = `${process.pid % 100_000}${networkCount++}`
    this.#machines = ['clients', ...machines]
    this.#bridge = `hfb${id}`
    this.#namespaces = new Map(machines.map((machine, i) => [machine, `hfc${id}n${i}`]))
    ip('link', 'add', this.#bridge, 'address', this.#macOf('clients'), 'type', 'bridge')
    ip('address', 'add', `${this.#hostOf('clients')}/24`, 'dev', this.#bridge)
    ip('link', 'set', this.#bridge, 'up')
    for (const [machine, namespace] of this.#namespaces) this.#add(machine, namespace)
    // Each machine gets static hardware addresses of all others. Otherwise it could ask for them,
    // and so correct a wrong address that `cut` has set.
    for (const a of this.#machines)
      for (const b of this.#machines) this.#setMac(a, b, this.#macOf(b))
  }

  canCut(): boolean {
    return true
  }

  cut(a: Machine, b: Machine): void {
    this.#cuts.push([a, b])
    this.#setMac(a, b, unreachableMac)
    this.#setMac(b, a, unreachableMac)
  }

  mend(): void {
    for (const [a, b] of this.#cuts.splice(0)) {
      this.#setMac(a, b, this.#macOf(b))
      this.#setMac(b, a, this.#macOf(a))
    }
  }

  placeOf(machine: Machine): Place {
    const namespace = this.#namespaces.get(machine)
    const command = namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace]
    return { host: this.#hostOf(machine), command }
  }

  async address(_from: Machine, _to: Machine, url: string): Promise<string> {
    return url
  }

  async close(): Promise<void> {
    for (const namespace of this.#namespaces.values()) ip('netns', 'delete', namespace)
    ip('link', 'delete', this.#bridge)
  }

  /** Adds a namespace, and connects it to the bridge by a device of the same name. */
  #add(machine: Machine, namespace: string): void {
    const mac = this.#macOf(machine)
    ip('netns', 'add', namespace)
    const peer = ['name', 'eth0', 'address', mac, 'netns', namespace]
    ip('link', 'add', 'name', namespace, 'type', 'veth', 'peer', ...peer)
    ip('link', 'set', namespace, 'master', this.#bridge, 'up')
    ip('-n', namespace, 'address', 'add', `${this.#hostOf(machine)}/24`, 'dev', 'eth0')
    ip('-n', namespace, 'link', 'set', 'eth0', 'up')
    ip('-n', namespace, 'link', 'set', 'lo', 'up')
  }

  /** Sets the hardware address for packets from one machine to another. */
  #setMac(from: Machine, to: Machine, mac: string): void {
    if (from === to) return
    const namespace = this.#namespaces.get(from)
    const namespaceArgs = namespace === undefined ? [] : ['-n', namespace]
    const device = namespace === undefined ? this.#bridge : 'eth0'
    const neighbour = [this.#hostOf(to), 'lladdr', mac, 'dev', device, 'nud', 'permanent']
    ip(...namespaceArgs, 'neigh', 'replace', ...neighbour)
  }

  #hostOf(machine: Machine): string {
    return `${this.#subnet}.${this.#machines.indexOf(machine) + 1}`
  }

  #macOf(machine: Machine): string {
    return `02:00:00:00:00:0${this.#machines.indexOf(machine) + 1}`
  }
}

/** Proxies on loopback between the machines. No proxy connects two members of the storage. */
export class ProxyNetwork implements Network {
  readonly #proxies: TcpProxy[] = []
  readonly #valves = new Map<string, Valve>()
  readonly #shutValves: Valve[] = []

  canCut(a: Machine, b: Machine): boolean {
    return this.#valves.has(`${a} ${b}`) || this.#valves.has(`${b} ${a}`)
  }

  cut(a: Machine, b: Machine): void {
    const valve = this.#valves.get(`${a} ${b}`) ?? this.#valves.get(`${b} ${a}`)
    if (valve === undefined) throw new Error(`No proxy connects ${a} and ${b}`)
    valve.shut()
    this.#shutValves.push(valve)
  }

  mend(): void {
    for (const valve of this.#shutValves.splice(0)) valve.open()
  }

  placeOf(): Place {
    return { host: '127.0.0.1', command: [] }
  }

  async address(from: Machine, to: Machine, url: string): Promise<string> {
    const valve = new Valve()
    this.#valves.set(`${from} ${to}`, valve)
    const filters = { up: valve.filter, down: valve.filter }
    const proxy = await TcpProxy.to(Number(new URL(url).port), () => filters)
    this.#proxies.push(proxy)
    return `${new URL(url).protocol}//${new URL(proxy.url).host}`
  }

  async close(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.close()))
  }
}
