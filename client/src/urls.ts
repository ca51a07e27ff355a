/** Where a session may connect to, and whether it may show a token there. */
import { check } from './checks.js'

/** @throws HoldfastError `INVALID_OPTION` */
export function checkUrls(value: unknown): readonly string[] {
  const urls: unknown[] = Array.isArray(value) ? value : [value]
  check(urls.length > 0, 'the list of URLs is empty')
  return urls.map(checkUrl)
}

/**
 * A token is sent only where nobody on the network can read it.
 * @throws HoldfastError `INVALID_OPTION`
 */
export function checkSecrecy(urls: readonly string[]): void {
  const open = urls.find((url) => isOpen(new URL(url)))
  check(
    open === undefined,
    `the token could be read on its way to ${open}: use wss:// or allowInsecure`,
  )
}

function isOpen({ protocol, hostname }: URL): boolean {
  const isLocal = /^(127\.[\d.]+|\[::1\]|(.*\.)?localhost)$/.test(hostname)
  return protocol === 'ws:' && !isLocal
}

function checkUrl(url: unknown): string {
  const advice = 'a URL begins with ws:// or wss:// and has no fragment (#)'
  const text = url instanceof URL ? url.href : url
  check(typeof text === 'string', advice)
  check(/^wss?:$/.test(protocolOf(text)) && !text.includes('#'), `${advice}: not ${text}`)
  return text
}

/** Empty if it is no URL. */
function protocolOf(text: string): string {
  try {
    return new URL(text).protocol
  } catch {
    return ''
  }
}
