/**
 * The route of the current page, in the URL after `#`. So the broker serves one file for all pages,
 * and links and the browser's back button work.
 */
import { useEffect, useState } from 'preact/hooks'

const pageNames = ['overview', 'locks', 'lock', 'sessions', 'session', 'events'] as const

export type PageName = (typeof pageNames)[number]

export interface Route {
  readonly page: PageName
  /** A key, the id of a session, or the text of a search. */
  readonly argument: string
}

export function addressOf(page: PageName, argument = ''): string {
  // Remove unpaired surrogates, because a URL cannot contain them, and no key does.
  const whole = argument.replace(/\p{Cs}/gu, '')
  return `#/${page}${whole === '' ? '' : `/${encodeURIComponent(whole)}`}`
}

function routeOf(hash: string): Route {
  const [, name = '', argument = ''] = /^#\/(\w+)(?:\/(.*))?$/.exec(hash) ?? []
  const page = pageNames.find((each) => each === name) ?? 'overview'
  try {
    return { page, argument: decodeURIComponent(argument) }
  } catch {
    return { page, argument: '' }
  }
}

export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash)
  useEffect(() => {
    const follow = () => setHash(location.hash)
    addEventListener('hashchange', follow)
    return () => removeEventListener('hashchange', follow)
  }, [])
  return routeOf(hash)
}

/**
 * Replaces the argument of the current page, such as the text of a search, without a new entry in
 * the browser's history for each letter.
 */
export function replaceArgument(page: PageName, argument: string): void {
  history.replaceState(null, '', addressOf(page, argument))
  dispatchEvent(new Event('hashchange'))
}
