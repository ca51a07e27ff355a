/**
 * The frame around all pages of the dashboard: the navigation, the state of the connection, and the
 * current page. The dashboard is the web page on which a broker shows its locks.
 */
import { useEffect, useRef } from 'preact/hooks'
import { CoordinationPage } from './pages/coordination.js'
import { EventsPage } from './pages/events.js'
import { LockPage } from './pages/lock.js'
import { LocksPage } from './pages/locks.js'
import { OverviewPage } from './pages/overview.js'
import { SessionPage } from './pages/session.js'
import { SessionsPage } from './pages/sessions.js'
import { TokenPage } from './pages/token.js'
import { useLiveAppState } from './ui/appState.js'
import { Banner, ConnectionBadge } from './ui/connectionStatus.js'
import { addressOf, type PageName, type Route, useRoute } from './ui/router.js'
import { ThemeSwitch } from './ui/themeSwitch.js'
import { Toasts } from './ui/toasts.js'

const navItems: readonly {
  readonly page: PageName
  readonly label: string
  /** The attribute `d` of an SVG path, in a view box of 24 by 24. */
  readonly icon: string
}[] = [
  { page: 'overview', label: 'Overview', icon: 'M3 13h4l3-8 4 14 3-6h4' },
  { page: 'locks', label: 'Locks', icon: 'M6 11h12v9H6zM9 11V8a3 3 0 0 1 6 0v3' },
  {
    page: 'sessions',
    label: 'Sessions',
    icon: 'M12 8m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0M4 20c2-6 14-6 16 0',
  },
  {
    page: 'coordination',
    label: 'Coordination',
    icon: 'M12 5m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0M5 18m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0M19 18m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0M12 7v5M12 12l-6 4M12 12l6 4',
  },
  { page: 'events', label: 'Events', icon: 'M4 6h16M4 12h16M4 18h10' },
]

/** For each detail page, the page in the navigation to which it belongs. */
const parentPages: Readonly<Partial<Record<PageName, PageName>>> = {
  lock: 'locks',
  session: 'sessions',
}

export function App() {
  const { feed } = useLiveAppState()
  const route = useRoute()
  const main = useFocusOnNavigation(route)
  const needsToken = feed.status.kind === 'token'
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to the content
      </button>
      <header class="top">
        <a class="brand" href={addressOf('overview')} aria-label="Holdfast, overview">
          <Logo />
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
  const currentPage = parentPages[route.page] ?? route.page
  return (
    <nav class="nav" aria-label="Pages">
      {navItems.map(({ page, label, icon }) => (
        <a
          key={page}
          href={addressOf(page)}
          aria-current={page === currentPage ? 'page' : undefined}
          class={page === currentPage ? 'here' : undefined}
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

/**
 * The page of the route. Preact builds a new detail page for another lock or session, because its
 * attribute `key` differs. So no state of the former page stays.
 */
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
    case 'coordination':
      return <CoordinationPage />
    case 'events':
      return <EventsPage />
    default:
      return <OverviewPage />
  }
}

/** The logo: a holdfast, the root with which seaweed holds on to rock. */
function Logo() {
  return (
    <svg class="mark" viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
      <circle cx="16" cy="8" r="4.4" />
      <path d="M16 12.4V18M16 18c0 5-4 6.5-10 8M16 18c0 5 4 6.5 10 8M16 18v9" />
    </svg>
  )
}

/**
 * Sets the title of the window to that of the page. After a change of the page, also moves the
 * focus to the start of the new page.
 *
 * @returns The ref for the element `main`, which gets the focus.
 */
function useFocusOnNavigation({ page, argument }: Route) {
  const main = useRef<HTMLElement>(null)
  const isFirstPage = useRef(true)
  /** The lock or session of a detail page; empty on other pages. */
  const subject = page === 'lock' || page === 'session' ? argument : ''
  useEffect(() => {
    const pageTitle =
      navItems.find((item) => item.page === (parentPages[page] ?? page))?.label ?? ''
    document.title = `${subject === '' ? pageTitle : subject} · Holdfast`
    if (!isFirstPage.current) {
      main.current?.focus({ preventScroll: true })
      scrollTo(0, 0)
    }
    isFirstPage.current = false
  }, [page, subject])
  return main
}
