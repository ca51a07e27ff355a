/**
 * The entry point of the dashboard, the web page on which a broker shows its locks. This file sets
 * the theme before the browser first draws the page, so that the page does not appear in another
 * theme for a moment.
 */
import { render } from 'preact'
import { App } from './app.js'
import { BrokerFeed } from './feed/brokerFeed.js'
import { ChangeNotifier } from './feed/changeNotifier.js'
import { pageEnvironment } from './pageEnvironment.js'
import { AppContext } from './ui/appState.js'
import { applyTheme, savedTheme } from './ui/theme.js'

applyTheme(savedTheme())
// The script is in the head of the page, and runs before the element `#app` exists.
document.addEventListener('DOMContentLoaded', renderApp)

function renderApp(): void {
  const changes = new ChangeNotifier(pageEnvironment)
  const feed = new BrokerFeed(brokerUrl(), pageEnvironment, changes)
  void feed.start()
  render(
    <AppContext.Provider value={{ feed, changes, environment: pageEnvironment }}>
      <App />
    </AppContext.Provider>,
    document.getElementById('app') as HTMLElement,
  )
}

/**
 * The URL of the broker: one level above the page. A fixed path would be wrong, because a proxy may
 * serve broker and page under any path.
 */
function brokerUrl(): string {
  const url = new URL('..', location.href)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  url.search = ''
  url.hash = ''
  return url.href
}
