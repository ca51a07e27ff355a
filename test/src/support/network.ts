/**
 * Linux network interfaces for tests: free addresses, and the command that creates interfaces.
 */
import { execFileSync } from 'node:child_process'
import { networkInterfaces } from 'node:os'

/** A MAC address that no interface has, for packets that must get lost. */
export const unreachableMac = '02:00:00:00:00:99'

/** Runs the command ip(8). Throws if the command fails. */
export function ip(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' })
}

/**
 * Returns a network of 256 addresses that no interface of this machine uses, as the first three
 * bytes, such as "198.18.7". The network is in `198.18.0.0/15`, the range for network tests
 * (RFC 2544). A killed run does not delete its interfaces, which use networks of this range.
 */
export function freeNet(): string {
  const usedNets = new Set(
    Object.values(networkInterfaces()).flatMap((addresses = []) =>
      addresses.map(({ address }) => address.slice(0, address.lastIndexOf('.'))),
    ),
  )
  // The range has 512 networks that differ in their second or third byte.
  for (let i = 0; i < 512; i++) {
    const net = `198.${18 + (i >> 8)}.${i & 255}`
    if (!usedNets.has(net)) return net
  }
  throw new Error(
    'All networks for tests are in use: delete the remaining namespaces that "ip netns list" shows',
  )
}
