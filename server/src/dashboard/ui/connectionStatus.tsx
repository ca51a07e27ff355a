/** Shows the state of the connection: a badge in the corner, and a banner if there is a problem. */
import { useState } from 'preact/hooks'
import type { ConnectionStatus } from '../feed/brokerFeed.js'
import { formatTwoUnits } from '../model/format.js'
import { useLiveAppState } from './appState.js'
import { TokenForm } from './tokenForm.js'

/**
 * The text of the badge for each state. In the state `disconnected`, the page reconnects. In the
 * state `ended`, the page does not reconnect. So only the badge for `ended` says `Disconnected`.
 */
const labels: Readonly<Record<ConnectionStatus['kind'], string>> = {
  connecting: 'Connecting',
  token: 'Token needed',
  live: 'Live',
  disconnected: 'Connection lost',
  ended: 'Disconnected',
}

export function ConnectionBadge() {
  const { feed } = useLiveAppState()
  const { kind } = feed.status
  return (
    <p class={`connection connection-${kind}`} role="status">
      <i aria-hidden="true" />
      <span>{labels[kind]}</span>
    </p>
  )
}

/** The banner for the most important problem of the connection, or null if there is no problem. */
export function Banner() {
  const { feed, environment } = useLiveAppState()
  const { status, closesAt: brokerStopsAt, tokenExpiresAt } = feed
  const timeUntil = (at: number) => formatTwoUnits(at - environment.wall())
  if (status.kind === 'disconnected') {
    return (
      <p class="banner banner-wait">
        Reconnecting to the broker. The data on this page is from before the connection was lost.
      </p>
    )
  }
  if (status.kind === 'connecting' && status.problem !== undefined) {
    return <p class="banner banner-wait">{status.problem}</p>
  }
  if (status.kind === 'ended') {
    return (
      <p class="banner banner-bad" role="alert">
        The broker has closed the connection: {status.problem}.{' '}
        <button type="button" class="link" onClick={() => void feed.start()}>
          Connect again
        </button>
      </p>
    )
  }
  if (tokenExpiresAt !== undefined)
    return <TokenExpiryBanner timeLeft={timeUntil(tokenExpiresAt)} />
  if (brokerStopsAt !== undefined) {
    return <p class="banner banner-wait">The broker stops in {timeUntil(brokerStopsAt)}.</p>
  }
  return null
}

function TokenExpiryBanner({ timeLeft }: { timeLeft: string }) {
  const [isOpen, setOpen] = useState(false)
  const { feed } = useLiveAppState()
  return (
    <div class="banner banner-wait">
      <p>
        Your token expires in {timeLeft}.{' '}
        {!isOpen && (
          <button type="button" class="link" onClick={() => setOpen(true)}>
            Enter a new token
          </button>
        )}
      </p>
      {isOpen && <TokenForm action="Use this token" onToken={(token) => feed.renewToken(token)} />}
    </div>
  )
}
