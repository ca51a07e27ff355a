/**
 * Makes a Linux network namespace that stands for another machine. Its only link leads to the
 * machine of the test. Packets can be lost on the link in one direction or both, and neither end is
 * notified.
 */
import { freeNet, ip, unreachableMac } from '../support/network.js'

let namespaceCount = 0

export class Namespace {
  readonly name: string
  /** The IP address of the test's end of the link. */
  readonly here: string
  /** The IP address of the namespace's end of the link. */
  readonly there: string
  readonly #link: string
  readonly #farLink: string
  readonly #mac: string
  readonly #farMac: string

  constructor() {
    // The name of a network device has at most 15 characters, so the id must be short.
    const id = `${process.pid % 100_000}${namespaceCount++}`
    const firstThreeBytes = freeNet()
    this.name = `holdfast${id}`
    this.#link = `hf${id}a`
    this.#farLink = `hf${id}b`
    this.here = `${firstThreeBytes}.1`
    this.there = `${firstThreeBytes}.2`
    this.#mac = '02:00:00:00:00:01'
    this.#farMac = '02:00:00:00:00:02'
    ip('netns', 'add', this.name)
    const near = ['name', this.#link, 'address', this.#mac]
    const far = ['name', this.#farLink, 'address', this.#farMac, 'netns', this.name]
    ip('link', 'add', ...near, 'type', 'veth', 'peer', ...far)
    // A network with 30 fixed bits has two addresses for machines: `here` and `there`.
    ip('address', 'add', `${this.here}/30`, 'dev', this.#link)
    ip('link', 'set', this.#link, 'up')
    this.#ipInside('address', 'add', `${this.there}/30`, 'dev', this.#farLink)
    this.#ipInside('link', 'set', this.#farLink, 'up')
    this.#ipInside('link', 'set', 'lo', 'up')
    this.loseNothing()
  }

  /** The first words of a command line that runs a program inside the namespace. */
  get command(): readonly string[] {
    return ['ip', 'netns', 'exec', this.name]
  }

  /**
   * Loses the packets from the namespace if `up`, and the packets to the namespace if `down`: the
   * senders address them to a device that does not exist.
   */
  lose({ up, down }: { readonly up: boolean; readonly down: boolean }): void {
    this.#setNeighbours(up ? unreachableMac : this.#mac, down ? unreachableMac : this.#farMac)
  }

  /** Ends the loss of packets in both directions. */
  loseNothing(): void {
    this.#setNeighbours(this.#mac, this.#farMac)
  }

  /** Deletes the namespace and its network devices. */
  remove(): void {
    ip('netns', 'delete', this.name)
  }

  /** Makes the namespace send its packets to `mac`, and makes the test send to `farMac`. */
  #setNeighbours(mac: string, farMac: string): void {
    this.#ipInside(
      'neigh',
      'replace',
      this.here,
      'lladdr',
      mac,
      'dev',
      this.#farLink,
      'nud',
      'permanent',
    )
    ip('neigh', 'replace', this.there, 'lladdr', farMac, 'dev', this.#link, 'nud', 'permanent')
  }

  #ipInside(...args: readonly string[]): void {
    ip('-n', this.name, ...args)
  }
}
