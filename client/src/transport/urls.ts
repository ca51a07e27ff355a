/** Checks the URLs of brokers, and that no token travels unencrypted over a network. */
import { redactUrl } from '@holdfast/shared'
import { check, isLoopback } from '../platform/checks.js'

/** @throws HoldfastError `INVALID_OPTION` */
export function checkUrls(value: unknown): readonly string[] {
  const urls: unknown[] = Array.isArray(value) ? value : [value]
  check(urls.length > 0, 'the list of URLs is empty')
  return urls.map(checkUrl)
}

/**
 * Refuses `ws://` URLs of other machines, because a token would travel there unencrypted.
 * @throws HoldfastError `INVALID_OPTION`
 */
export function checkTokenSecrecy(urls: readonly string[]): void {
  for (const url of urls) {
    const { protocol, hostname } = new URL(url)
    check(
      protocol !== 'ws:' || isLoopback(hostname),
      `the token could be read on its way to ${redactUrl(url)}: use wss:// or allowInsecure`,
    )
  }
}

function checkUrl(url: unknown): string {
  const rule = 'a URL begins with ws:// or wss:// and has no fragment (#)'
  const text = url instanceof URL ? url.href : url
  check(typeof text === 'string', rule)
  const isUsable = /^wss?:$/.test(protocolOf(text)) && !text.includes('#')
  check(isUsable, `${rule}: not ${redactUrl(text)}`)
  return text
}

/** The protocol of a URL, such as `ws:`. Empty if the text is not a URL. */
function protocolOf(text: string): string {
  try {
    return new URL(text).protocol
  } catch {
    return ''
  }
}
