/**
 * Finds out where an HTTP request comes from: the address of the peer, or the address that a
 * trusted proxy reports. Also finds out whether others on the network can read the request.
 */
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, SocketAddress } from 'node:net'
import type { TLSSocket } from 'node:tls'

/** Where a request comes from, by its connection and by the headers of trusted proxies. */
export interface ClientAddress {
  /** Undefined for a Unix socket. */
  readonly address: string | undefined
  /**
   * True if no other party on the network can read the request: the request uses TLS, or does not
   * leave this machine.
   */
  readonly secure: boolean
}

/** The usual beginning of an IPv6 address that stands for an IPv4 address. */
const mappedPrefix = '::ffff:'

/** Whether an address or host name always means this machine. */
export function isLoopback(host: string): boolean {
  const address = withoutMappedPrefix(host)
  if (isIP(address) === 4) return address.startsWith('127.')
  return address === '::1' || address === 'localhost'
}

/**
 * Parses the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` headers the broker trusts.
 *
 * @param proxies Addresses such as `10.0.0.5`, or subnets such as `10.0.0.0/8`.
 * @returns The trusted proxies, in Node's class for lists of addresses; or, as `fault`, the first
 *   item that is neither an address nor a subnet.
 */
export function proxyList(proxies: readonly string[]): BlockList | { readonly fault: string } {
  const trustedProxies = new BlockList()
  for (const proxy of proxies) {
    const [address = '', prefixBits, ...otherParts] = proxy.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    const maxBits = family === 'ipv6' ? 128 : 32
    const isValidPrefix = prefixBits === undefined || isIntegerUpTo(prefixBits, maxBits)
    if (isIP(address) === 0 || !isValidPrefix || otherParts.length > 0) return { fault: proxy }
    if (prefixBits === undefined) trustedProxies.addAddress(address, family)
    else trustedProxies.addSubnet(address, Number(prefixBits), family)
  }
  return trustedProxies
}

/** Returns where a request comes from. A trusted proxy may report this in headers. */
export function clientAddressOf(
  { headers, socket }: IncomingMessage,
  proxies: BlockList | undefined,
): ClientAddress {
  const peer = socket.remoteAddress
  if (peer === undefined) return { address: undefined, secure: true }
  if (!includesAddress(proxies, peer)) {
    return { address: peer, secure: (socket as TLSSocket).encrypted || isLoopback(peer) }
  }
  // Every trusted proxy appends the address of its peer to the header, and a client can forge only
  // the addresses before those. So the client has the last address that is not a trusted proxy. If
  // every address is a trusted proxy, the client has the first.
  const hops = splitHeader(headers['x-forwarded-for'])
  while (hops.length > 1 && includesAddress(proxies, hops.at(-1) as string)) hops.pop()
  const protocol = lastForwardedProtocol(headers)
  const reportedAddress = hops.at(-1) ?? peer
  return {
    address: isIP(reportedAddress) === 0 ? peer : reportedAddress,
    secure: /^(https|wss)$/.test(protocol ?? ''),
  }
}

/**
 * The protocol by which a request reached a trusted proxy, such as `https`. Undefined if the peer
 * is no trusted proxy, or reports no protocol.
 */
export function forwardedProtocol(
  { headers, socket }: IncomingMessage,
  proxies: BlockList | undefined,
): string | undefined {
  return includesAddress(proxies, socket.remoteAddress ?? '')
    ? lastForwardedProtocol(headers)
    : undefined
}

/**
 * The part of an address by which the limits count clients: a whole IPv4 address, or the first 64
 * bits of an IPv6 address. All IPv6 addresses with the same 64 bits count as one client, because
 * one host usually has all these addresses.
 */
export function addressGroup(address: string): string {
  // The usual case, an IPv4 address, must be fast, because each connection causes several calls.
  if (!address.includes(':')) return address
  const unprefixed = withoutMappedPrefix(address)
  if (isIP(unprefixed) !== 6) return unprefixed
  // `split('%')` removes the zone of a link-local address, such as `%eth0`. An address has 8
  // hextets (groups of 16 bits), and at most one `::`, which stands for hextets of zeros.
  const [head = '', tail] = (unprefixed.split('%')[0] as string).split('::')
  const hextets = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const tailHextets = tail === '' ? [] : tail.split(':')
    while (hextets.length + tailHextets.length < 8) hextets.push('0')
    hextets.push(...tailHextets)
  }
  // The first 4 hextets are 64 bits. All spellings of a hextet get one form: 0db8 and DB8 become
  // db8.
  const normalized = hextets.slice(0, 4).map((hextet) => Number.parseInt(hextet, 16).toString(16))
  return `${normalized.join(':')}::/64`
}

/**
 * Returns the IPv4 address in an IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2). An IPv6
 * socket reports an IPv4 peer as such an address: `::ffff:10.0.0.5`. A proxy may use another
 * spelling, such as `::FFFF:a00:5`. Returns every other address unchanged.
 */
function withoutMappedPrefix(address: string): string {
  // The usual cases need no slow checks: an IPv4 address, and a mapped address as sockets write it
  // (`::ffff:10.0.0.5`).
  if (!address.includes(':')) return address
  if (address.startsWith(mappedPrefix) && isIP(address.slice(mappedPrefix.length)) === 4)
    return address.slice(mappedPrefix.length)
  const withoutZone = address.split('%')[0] as string
  if (!/^[0:]+:ffff:/i.test(withoutZone) || isIP(withoutZone) !== 6) return address
  // `SocketAddress` writes every mapped address as sockets write it.
  const respelled = new SocketAddress({ address: withoutZone, family: 'ipv6' }).address
  return respelled.startsWith(mappedPrefix) ? respelled.slice(mappedPrefix.length) : address
}

function includesAddress(proxies: BlockList | undefined, address: string): boolean {
  if (proxies === undefined) return false
  const unprefixed = withoutMappedPrefix(address)
  const ipVersion = isIP(unprefixed)
  return ipVersion !== 0 && proxies.check(unprefixed, ipVersion === 6 ? 'ipv6' : 'ipv4')
}

/** The last protocol in the header. The nearest proxy has appended it, trusted or not. */
function lastForwardedProtocol(headers: IncomingMessage['headers']): string | undefined {
  return splitHeader(headers['x-forwarded-proto']).at(-1)
}

function isIntegerUpTo(digits: string, max: number): boolean {
  return /^\d{1,3}$/.test(digits) && Number(digits) <= max
}

function splitHeader(header: string | string[] | undefined): string[] {
  const text = Array.isArray(header) ? header.join() : (header ?? '')
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}
