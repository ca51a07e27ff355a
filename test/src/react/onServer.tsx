/** Renders components as a server does: to HTML, without the effects of React. */
import { renderToString } from 'react-dom/server'
import { App, LockView } from './components.js'

/** Returns the HTML of a component with a lock of this key. */
export function renderOnServer(url: string, key: string): string {
  return renderToString(
    <App url={url} options={{ name: 'server' }}>
      <LockView lockKey={key} auto={true} />
    </App>,
  )
}
