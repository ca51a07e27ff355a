/**
 * Which page is shown: it stands behind the `#` of the address, so that the broker needs to serve
 * one page only, and a page can be linked to and gone back to.
 */
import { useEffect, useState } from 'preact/hooks'

const pageNames = ['overview', 'locks', 'lock', 'sessions', 'session', 'events'] as const

export type PageName = (typeof pageNames)[number]

export interface Route {
  readonly page: PageName
  /** A key, the id of a session, or what is searched for. */
  readonly argument: string
}

export function addressOf(page: PageName, argument = ''): string {
  // Half of a letter cannot be written in an address, and is in no key.
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

/** Another argument for this page, such as what is typed: no step to go back for each letter. */
export function amend(page: PageName, argument: string): void {
  history.replaceState(null, '', addressOf(page, argument))
  dispatchEvent(new Event('hashchange'))
}
