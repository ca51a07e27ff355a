/** Where a session may connect to, and whether it may show a token there. */
import { redactUrl } from '@holdfast/shared'
import { check } from '../platform/checks.js'

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
  const shown = redactUrl(open ?? '')
  check(
    open === undefined,
    `the token could be read on its way to ${shown}: use wss:// or allowInsecure`,
  )
}

function isOpen({ protocol, hostname }: URL): boolean {
  return protocol === 'ws:' && !isLoopback(hostname)
}

/** Whether a URL's host name is this machine's own. */
export function isLoopback(hostname: string): boolean {
  return /^(127\.[\d.]+|\[::1\]|(.*\.)?localhost)$/.test(hostname)
}

function checkUrl(url: unknown): string {
  const advice = 'a URL begins with ws:// or wss:// and has no fragment (#)'
  const text = url instanceof URL ? url.href : url
  check(typeof text === 'string', advice)
  const isUsable = /^wss?:$/.test(protocolOf(text)) && !text.includes('#')
  check(isUsable, `${advice}: not ${redactUrl(text)}`)
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
