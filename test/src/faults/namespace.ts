/**
 * A Linux network namespace with a link to the namespace of the test. For the network, the
 * namespace is another machine. Packets can be lost on the link in one direction or both, and
 * neither end is notified.
 */
import { freeNet, ip, unreachableMac } from '../support/network.js'

let made = 0

export class Namespace {
  readonly name: string
  /** The addresses of this end and of the other end of the link. */
  readonly here: string
  readonly there: string
  readonly #link: string
  readonly #farLink: string
  readonly #mac: string
  readonly #farMac: string

  constructor() {
    const id = `${process.pid % 100_000}${made++}`
    const net = freeNet()
    this.name = `holdfast${id}`
    this.#link = `hf${id}a`
    this.#farLink = `hf${id}b`
    this.here = `${net}.1`
    this.there = `${net}.2`
    this.#mac = '02:00:00:00:00:01'
    this.#farMac = '02:00:00:00:00:02'
    ip('netns', 'add', this.name)
    const near = ['name', this.#link, 'address', this.#mac]
    const far = ['name', this.#farLink, 'address', this.#farMac, 'netns', this.name]
    ip('link', 'add', ...near, 'type', 'veth', 'peer', ...far)
    ip('address', 'add', `${this.here}/30`, 'dev', this.#link)
    ip('link', 'set', this.#link, 'up')
    this.#far('address', 'add', `${this.there}/30`, 'dev', this.#farLink)
    this.#far('link', 'set', this.#farLink, 'up')
    this.#far('link', 'set', 'lo', 'up')
    this.loseNothing()
  }

  /** Runs a command inside the namespace. */
  get command(): readonly string[] {
    return ['ip', 'netns', 'exec', this.name]
  }

  /** Routes packets to an unknown hardware address, so that they are lost without a notice. */
  lose({ up, down }: { readonly up: boolean; readonly down: boolean }): void {
    this.#neighbours(up ? unreachableMac : this.#mac, down ? unreachableMac : this.#farMac)
  }

  loseNothing(): void {
    this.#neighbours(this.#mac, this.#farMac)
  }

  remove(): void {
    ip('netns', 'delete', this.name)
  }

  #neighbours(mac: string, farMac: string): void {
    this.#far(
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

  #far(...args: readonly string[]): void {
    ip('-n', this.name, ...args)
  }
}
