/** The frame around all pages: where one is, where one can go, and how the connection fares. */
import { useEffect, useRef } from 'preact/hooks'
import { EventsPage } from '../pages/events.js'
import { LockPage } from '../pages/lock.js'
import { LocksPage } from '../pages/locks.js'
import { OverviewPage } from '../pages/overview.js'
import { SessionPage } from '../pages/session.js'
import { SessionsPage } from '../pages/sessions.js'
import { TokenPage } from '../pages/token.js'
import { Banner, ConnectionBadge } from './connection.js'
import { addressOf, type PageName, type Route, useRoute } from './router.js'
import { useFeed } from './shared.js'
import { ThemeSwitch } from './themeSwitch.js'
import { Toasts } from './toasts.js'

const places: readonly {
  readonly page: PageName
  readonly label: string
  readonly icon: string
}[] = [
  { page: 'overview', label: 'Overview', icon: 'M3 13h4l3-8 4 14 3-6h4' },
  { page: 'locks', label: 'Locks', icon: 'M6 11h12v9H6zM9 11V8a3 3 0 0 1 6 0v3' },
  {
    page: 'sessions',
    label: 'Sessions',
    icon: 'M12 8m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0M4 20c2-6 14-6 16 0',
  },
  { page: 'events', label: 'Events', icon: 'M4 6h16M4 12h16M4 18h10' },
]

/** Which place a page belongs to. */
const home: Readonly<Partial<Record<PageName, PageName>>> = { lock: 'locks', session: 'sessions' }

export function App() {
  const { feed } = useFeed()
  const route = useRoute()
  const main = useArrival(route)
  const needsToken = feed.status.kind === 'token'
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to the content
      </button>
      <header class="top">
        <a class="brand" href={addressOf('overview')} aria-label="Holdfast, overview">
          <Mark />
          <span>Holdfast</span>
        </a>
        {!needsToken && <Nav route={route} />}
        <ConnectionBadge />
        <ThemeSwitch />
      </header>
      <Banner />
      <main id="main" tabIndex={-1} ref={main}>
        {needsToken ? <TokenPage /> : <Page route={route} />}
      </main>
      <Toasts />
    </>
  )
}

function Nav({ route }: { route: Route }) {
  const here = home[route.page] ?? route.page
  return (
    <nav class="nav" aria-label="Pages">
      {places.map(({ page, label, icon }) => (
        <a
          key={page}
          href={addressOf(page)}
          aria-current={page === here ? 'page' : undefined}
          class={page === here ? 'here' : undefined}
        >
          <svg viewBox="0 0 24 24" width="18" height="18" aria-hidden="true">
            <path d={icon} />
          </svg>
          <span>{label}</span>
        </a>
      ))}
    </nav>
  )
}

function Page({ route: { page, argument } }: { route: Route }) {
  switch (page) {
    case 'locks':
      return <LocksPage text={argument} />
    case 'lock':
      return <LockPage name={argument} key={argument} />
    case 'sessions':
      return <SessionsPage />
    case 'session':
      return <SessionPage id={argument} key={argument} />
    case 'events':
      return <EventsPage />
    default:
      return <OverviewPage />
  }
}

/** A holdfast: what seaweed holds on to its rock with. */
function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
      <circle cx="16" cy="8" r="4.4" />
      <path d="M16 12.4V18M16 18c0 5-4 6.5-10 8M16 18c0 5 4 6.5 10 8M16 18v9" />
    </svg>
  )
}

/** On another page the focus is at its beginning, and the window has its name. */
function useArrival({ page, argument }: Route) {
  const main = useRef<HTMLElement>(null)
  const isFirst = useRef(true)
  const what = page === 'lock' || page === 'session' ? argument : ''
  useEffect(() => {
    const title = places.find((place) => place.page === (home[page] ?? page))?.label ?? ''
    document.title = `${what === '' ? title : what} · Holdfast`
    if (!isFirst.current) {
      main.current?.focus({ preventScroll: true })
      scrollTo(0, 0)
    }
    isFirst.current = false
  }, [page, what])
  return main
}
