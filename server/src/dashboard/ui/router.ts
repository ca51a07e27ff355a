/**
 * The route of the current page, in the URL after `#`. Because the route is in that part of the
 * URL, the broker serves one file for all pages, and links and the browser's back button work.
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
  /** A key, the id of a session, or the text of a search. */
  readonly argument: string
}

export function addressOf(page: PageName, argument = ''): string {
  // Remove unpaired surrogates, because a URL cannot contain them. No key contains unpaired
  // surrogates.
  const encodable = argument.replace(/\p{Cs}/gu, '')
  return `#/${page}${encodable === '' ? '' : `/${encodeURIComponent(encodable)}`}`
}

function routeOf(hash: string): Route {
  const [, name = '', argument = ''] = /^#\/(\w+)(?:\/(.*))?$/.exec(hash) ?? []
  const page = pageNames.find((pageName) => pageName === name) ?? 'overview'
  try {
    return { page, argument: decodeURIComponent(argument) }
  } catch {
    return { page, argument: '' }
  }
}

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
  dispatchEvent(new Event('hashchange'))
}
