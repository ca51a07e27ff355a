/**
 * Where a request comes from: the peer's address, or what a proxy that we trust says about the peer
 * in front of it. And whether what it sends can be read on the way.
 */
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'
import type { TLSSocket } from 'node:tls'

/** Who is calling, as far as the network tells. */
export interface Caller {
  /** Undefined for a Unix socket. */
  readonly address: string | undefined
  /** Nobody on the way can read it: TLS, or it never leaves this machine. */
  readonly secure: boolean
}

/** Whether an address or host name can only be this machine. */
export function isLoopback(host: string): boolean {
  const address = plainAddress(host)
  if (isIP(address) === 4) return address.startsWith('127.')
  return address === '::1' || address === 'localhost'
}

/**
 * Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
 *
 * @param proxies Addresses such as `10.0.0.5`, or subnets such as `10.0.0.0/8`.
 * @returns Undefined with `fault` set if one of them is neither.
 */
export function proxyList(proxies: readonly string[]): BlockList | { readonly fault: string } {
  const list = new BlockList()
  for (const proxy of proxies) {
    const [address = '', bits] = proxy.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    const most = family === 'ipv6' ? 128 : 32
    if (isIP(address) === 0 || (bits !== undefined && !isUpTo(bits, most))) return { fault: proxy }
    if (bits === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(bits), family)
  }
  return list
}

export function callerOf(
  { headers, socket }: IncomingMessage,
  proxies: BlockList | undefined,
): Caller {
  const peer = socket.remoteAddress
  if (peer === undefined) return { address: undefined, secure: true }
  if (!isIn(proxies, peer)) {
    return { address: peer, secure: (socket as TLSSocket).encrypted || isLoopback(peer) }
  }
  // Every proxy appends the peer it saw, so only what trusted ones wrote is true: from the right.
  const hops = listOf(headers['x-forwarded-for'])
  while (hops.length > 1 && isIn(proxies, hops.at(-1) as string)) hops.pop()
  const proto = protoOf(headers)
  const address = hops.at(-1) ?? peer
  return {
    address: isIP(address) === 0 ? peer : address,
    secure: /^(https|wss)$/.test(proto ?? ''),
  }
}

/** What a trusted proxy says a request came to it by, such as `https`; undefined without one. */
export function forwardedProto(
  { headers, socket }: IncomingMessage,
  proxies: BlockList | undefined,
): string | undefined {
  return isIn(proxies, socket.remoteAddress ?? '') ? protoOf(headers) : undefined
}

/**
 * What the limits count as one address: an IPv4 address, or the first half of an IPv6 address,
 * since whoever has one of those has 2^64.
 */
export function addressGroup(address: string): string {
  const plain = plainAddress(address)
  if (isIP(plain) !== 6) return plain
  const [head = '', tail] = (plain.split('%')[0] as string).split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const after = tail === '' ? [] : tail.split(':')
    while (groups.length + after.length < 8) groups.push('0')
    groups.push(...after)
  }
  // However it is spelt: 0db8 is db8, and DB8 too.
  const spelt = groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16))
  return `${spelt.join(':')}::/64`
}

/** Without the prefix that says "IPv4, in IPv6". */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address
}

function isIn(proxies: BlockList | undefined, address: string): boolean {
  if (proxies === undefined) return false
  const plain = plainAddress(address)
  const version = isIP(plain)
  return version !== 0 && proxies.check(plain, version === 6 ? 'ipv6' : 'ipv4')
}

/** What the nearest proxy says, whoever it is. */
function protoOf(headers: IncomingMessage['headers']): string | undefined {
  return listOf(headers['x-forwarded-proto']).at(-1)
}

function isUpTo(bits: string, most: number): boolean {
  return /^\d{1,3}$/.test(bits) && Number(bits) <= most
}

function listOf(header: string | string[] | undefined): string[] {
  const text = Array.isArray(header) ? header.join() : (header ?? '')
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}
