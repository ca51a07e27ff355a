/**
 * The hosts of one PostgreSQL database: a primary, and standbys that may replace the primary. All
 * connections of a broker use the same host until this host fails.
 */
import type { PostgresHost } from './address.js'

export class Hosts {
  readonly #hosts: readonly PostgresHost[]
  /** The index of the host in use. */
  #index = 0

  constructor(hosts: readonly PostgresHost[]) {
    this.#hosts = hosts
  }

  get current(): PostgresHost {
    return this.#hosts[this.#index]!
  }

  /** All hosts, beginning with the host in use. */
  get inOrder(): readonly PostgresHost[] {
    return [...this.#hosts.slice(this.#index), ...this.#hosts.slice(0, this.#index)]
  }

  /** Uses this host from now on. */
  use(host: PostgresHost): void {
    this.#index = this.#hosts.indexOf(host)
  }

  /** If this host is in use, uses the next host. Called when a connection to this host fails. */
  moveFrom(host: PostgresHost): void {
    if (host === this.current) this.#index = (this.#index + 1) % this.#hosts.length
  }
}
