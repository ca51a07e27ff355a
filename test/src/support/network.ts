/** Parts of a Linux network of the tests' own: the command that makes them, and addresses. */
import { execFileSync } from 'node:child_process'
import { networkInterfaces } from 'node:os'

/** Where packets are sent that are to get lost. */
export const nobody = '02:00:00:00:00:99'

export function ip(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' })
}

/**
 * The first three bytes of addresses that no link of this machine has, out of those set aside for
 * tests of networks (RFC 2544): a run that was killed leaves its links behind.
 */
export function freeNet(): string {
  const taken = new Set(
    Object.values(networkInterfaces()).flatMap((all = []) =>
      all.map(({ address }) => address.slice(0, address.lastIndexOf('.'))),
    ),
  )
  for (let i = 0; i < 512; i++) {
    const net = `198.${18 + (i >> 8)}.${i & 255}`
    if (!taken.has(net)) return net
  }
  throw new Error('all networks for tests are taken: "ip netns list" names whose links are left')
}
