/**
 * Keeps the route of the current page in the URL, after `#`. The browser does not send this part of
 * the URL to the broker, so the broker serves one file for all pages. Each page has its own URL, so
 * links and the back button work.
 */
import { useEffect, useState } from 'preact/hooks'

const pageNames = [
  'overview',
  'locks',
  'lock',
  'sessions',
  'session',
  'coordination',
  'events',
] as const

export type PageName = (typeof pageNames)[number]

export interface Route {
  readonly page: PageName
  /** A key, the id of a session, or the text of a search; empty for a page that has none. */
  readonly argument: string
}

/** The link to a page. */
export function addressOf(page: PageName, argument = ''): string {
  // Remove unpaired surrogates (halves of a character), which a URL cannot contain. No key contains
  // unpaired surrogates, but the text of a search may.
  const encodable = argument.replace(/\p{Cs}/gu, '')
  return `#/${page}${encodable === '' ? '' : `/${encodeURIComponent(encodable)}`}`
}

/** The route in `hash`, the part of the URL from `#` on; the overview if `hash` has no route. */
function routeOf(hash: string): Route {
  const [, name = '', argument = ''] = /^#\/(\w+)(?:\/(.*))?$/.exec(hash) ?? []
  const page = pageNames.find((pageName) => pageName === name) ?? 'overview'
  try {
    return { page, argument: decodeURIComponent(argument) }
  } catch {
    // The user may have typed an invalid `%` sequence.
    return { page, argument: '' }
  }
}

/** The current route. A component that calls this hook is drawn again when the route changes. */
export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash)
  useEffect(() => {
    const onHashChange = () => setHash(location.hash)
    addEventListener('hashchange', onHashChange)
    return () => removeEventListener('hashchange', onHashChange)
  }, [])
  return routeOf(hash)
}

/**
 * Replaces the argument of the current page. The browser's history gets no new entry, because a
 * page calls this function at each letter of a search.
 */
export function replaceArgument(page: PageName, argument: string): void {
  history.replaceState(null, '', addressOf(page, argument))
  // `useRoute` listens for `hashchange`, which `replaceState` does not cause.
  dispatchEvent(new Event('hashchange'))
}
