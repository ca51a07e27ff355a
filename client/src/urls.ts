/** Where a session may connect to, and whether it may show a token there. */
import { HoldfastError } from '@holdfast/shared'
import { check } from './checks.js'

/** @throws HoldfastError `INVALID_OPTION` */
export function checkUrls(value: unknown): readonly string[] {
  const urls: unknown[] = Array.isArray(value) ? value : [value]
  check(urls.length > 0, 'INVALID_OPTION', 'the list of URLs is empty: give at least one')
  return urls.map((url) => checkUrl(url instanceof URL ? url.href : url))
}

/**
 * A token is sent only where nobody on the network can read it.
 * @throws HoldfastError `INVALID_OPTION`
 */
export function checkSecrecy(urls: readonly string[]): void {
  const open = urls.find((url) => isOpen(new URL(url)))
  check(
    open === undefined,
    'INVALID_OPTION',
    `the token would be sent to ${open} for anybody on the network to read: ` +
      'use wss://, or allow it by name with allowInsecure',
  )
}

function isOpen({ protocol, hostname }: URL): boolean {
  const isLocal = /^(127\.[\d.]+|\[::1\]|localhost|.*\.localhost)$/.test(hostname)
  return protocol === 'ws:' && !isLocal
}

function checkUrl(url: unknown): string {
  const advice = 'give something like ws://127.0.0.1:7420'
  check(typeof url === 'string', 'INVALID_OPTION', `the URL is not a string: ${advice}`)
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch (cause) {
    throw new HoldfastError('INVALID_OPTION', `${url} is not a URL: ${advice}`, { cause })
  }
  const isWebSocket = parsed.protocol === 'ws:' || parsed.protocol === 'wss:'
  check(isWebSocket, 'INVALID_OPTION', `${url} does not begin with ws:// or wss://: ${advice}`)
  check(!url.includes('#'), 'INVALID_OPTION', `${url} has a fragment (#…), which is not allowed`)
  return url
}
