/**
 * The route of the current page, in the URL after `#`. The browser does not send this part of the
 * URL to the broker, so the broker serves one file for all pages. Each page has its own URL, so
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

/** The route in the part of the URL after `#`; the overview if that part is no route. */
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

/** The current route. The view is drawn again when the route changes. */
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
 * Replaces the argument of the current page, such as the text of a search, without a new entry in
 * the browser's history for each letter.
 */
export function replaceArgument(page: PageName, argument: string): void {
  history.replaceState(null, '', addressOf(page, argument))
  // `replaceState` itself does not cause this event, for which `useRoute` listens.
  dispatchEvent(new Event('hashchange'))
}
