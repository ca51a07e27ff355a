/**
 * Where the dashboard begins. The theme is set before anything is drawn, so that nobody is blinded
 * by the wrong one first.
 */
import { render } from 'preact'
import { Feed } from './feed/feed.js'
import { Store } from './feed/store.js'
import { pageEnvironment } from './pageEnvironment.js'
import { App } from './ui/app.js'
import { Shared } from './ui/shared.js'
import { applyTheme, savedTheme } from './ui/theme.js'

applyTheme(savedTheme())
document.addEventListener('DOMContentLoaded', begin)

function begin(): void {
  const store = new Store(pageEnvironment)
  const feed = new Feed(brokerUrl(), pageEnvironment, store)
  void feed.start()
  render(
    <Shared.Provider value={{ feed, store, environment: pageEnvironment }}>
      <App />
    </Shared.Provider>,
    document.getElementById('app') as HTMLElement,
  )
}

/** The broker is where the page is from, one step up: it may stand behind any path of a proxy. */
function brokerUrl(): string {
  const url = new URL('..', location.href)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  url.search = ''
  url.hash = ''
  return url.href
}
