/** How the connection fares: a word in the corner always, and a line across the page in need. */
import { useState } from 'preact/hooks'
import type { Status } from '../feed/feed.js'
import { span } from '../model/format.js'
import { useFeed } from './shared.js'
import { TokenForm } from './tokenForm.js'

const words: Readonly<Record<Status['kind'], string>> = {
  connecting: 'Connecting',
  token: 'Token needed',
  live: 'Live',
  disconnected: 'Connection lost',
  ended: 'Disconnected',
}

export function ConnectionBadge() {
  const { feed } = useFeed()
  const { kind } = feed.status
  return (
    <p class={`standing standing-${kind}`} role="status">
      <i aria-hidden="true" />
      <span>{words[kind]}</span>
    </p>
  )
}

export function Banner() {
  const { feed, environment } = useFeed()
  const { status, drainsAt, tokenEndsAt } = feed
  const left = (until: number) => span(until - environment.wall())
  if (status.kind === 'disconnected') {
    return <p class="banner banner-wait">Coming back to the broker. What you see is from before.</p>
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
  if (tokenEndsAt !== undefined) return <Expiring left={left(tokenEndsAt)} />
  if (drainsAt !== undefined) {
    return <p class="banner banner-wait">The broker is going away in {left(drainsAt)}.</p>
  }
  return null
}

function Expiring({ left }: { left: string }) {
  const [isOpen, setOpen] = useState(false)
  const { feed } = useFeed()
  return (
    <div class="banner banner-wait">
      <p>
        Your token ends in {left}.{' '}
        {!isOpen && (
          <button type="button" class="link" onClick={() => setOpen(true)}>
            Show a new one
          </button>
        )}
      </p>
      {isOpen && <TokenForm action="Go on with it" onToken={(token) => feed.renewToken(token)} />}
    </div>
  )
}
