/** Small components that many pages use: modes, ages, notes, panels, links to keys and sessions. */
import type { LockMode } from '@holdfast/client'
import type { ComponentChildren } from 'preact'
import { useEffect, useReducer } from 'preact/hooks'
import {
  formatCount,
  formatDate,
  formatTwoUnits,
  shortenMiddle,
  shortId,
  shortJson,
} from '../model/format.js'
import type { KnownLock } from '../model/lockModel.js'
import { useAppState, useLiveAppState } from './appState.js'
import { addressOf } from './router.js'

/** @param name The key. The prop has another name, because Preact reserves the prop `key`. */
export function KeyLink({ name, tabIndex }: { name: string; tabIndex?: number | undefined }) {
  const tabProps = tabIndex === undefined ? {} : { tabIndex }
  return (
    <a class="key" href={addressOf('lock', name)} title={name} aria-label={name} {...tabProps}>
      {shortenMiddle(name)}
    </a>
  )
}

interface SessionLinkProps {
  readonly session: string
  readonly name?: string | undefined
  readonly tabIndex?: number | undefined
}

/**
 * A link to a session. The link shows the name of the session, if the session has a name, and the
 * start of the session id.
 */
export function SessionLink({ session, name, tabIndex }: SessionLinkProps) {
  const tabProps = tabIndex === undefined ? {} : { tabIndex }
  return (
    <a
      class="session-link"
      href={addressOf('session', session)}
      title={name === undefined ? `session ${session}` : `${name}, session ${session}`}
      {...tabProps}
    >
      {name !== undefined && <span class="session-name">{name}</span>}
      <span class="session-id">{shortId(session)}</span>
    </a>
  )
}

interface LockDescriptionProps {
  readonly mode: LockMode
  /**
   * For a lock or request, its permits; for the row of a key, the sum over the locks of the key.
   */
  readonly permits?: number | undefined
  readonly capacity?: number | undefined
  /**
   * For a lock of several keys (a set), the number of its keys; undefined for a lock of one key.
   */
  readonly keyCount?: number | undefined
  /** The id of the scope (one logical task of the session); undefined outside a scope. */
  readonly scope?: number | undefined
  /** Whether the request is an upgrade of a shared lock. */
  readonly upgrade?: true | undefined
  /**
   * Whether the lock or request belongs to a call of `once`. With `once`, several clients ask for
   * the value of a key. One client calls a function, and all clients get the function's value.
   */
  readonly once?: true | undefined
  /** How long the lock may be held, in ms; undefined without a limit. */
  readonly maxHold?: number | undefined
  /** Whether this is the lock of a leader, or the request of a candidate. */
  readonly election?: boolean | undefined
  /** The value of the leader. */
  readonly value?: unknown
}

/**
 * Describes a lock or a request: its kind, its scope, the size of its set, its `maxHold`, and the
 * value of a leader.
 */
export function LockDescription(props: LockDescriptionProps) {
  const { mode, keyCount, maxHold, scope, value } = props
  return (
    <>
      <span class={`mode mode-${mode}`}>{kindWord(props)}</span>
      {scope !== undefined && <span class="more">scope {scope}</span>}
      {keyCount !== undefined && <span class="more">set of {keyCount}</span>}
      {maxHold !== undefined && <span class="more">at most {formatTwoUnits(maxHold)}</span>}
      {value !== undefined && (
        <span class="more" title={JSON.stringify(value)}>
          {shortJson(value)}
        </span>
      )}
    </>
  )
}

/** The word for the kind of a lock or request; its mode if no other word applies. */
function kindWord({
  mode,
  permits,
  capacity,
  upgrade,
  once,
  election,
}: LockDescriptionProps): string {
  if (election) return 'election'
  if (upgrade) return 'upgrade'
  if (once) return 'once'
  return mode === 'permits' ? `permits ${permits ?? 0}/${capacity ?? '?'}` : mode
}

/**
 * The time that has passed since `since`, with `since` as the tooltip. Needs no timer, because the
 * pages are drawn again whenever they poll the counters of the broker.
 */
export function Age({ since }: { since: number }) {
  const { environment } = useAppState()
  return (
    <span class="age" title={formatDate(since)}>
      {formatTwoUnits(environment.wall() - since)}
    </span>
  )
}

/**
 * The time until a lock ends. Counts down every second, without messages of the broker.
 *
 * @param endsAt By the monotonic clock of the page, in ms.
 */
export function TimeLeft({ endsAt }: { endsAt: number }) {
  const { environment } = useAppState()
  const [, redraw] = useReducer((count: number) => count + 1, 0)
  const seconds = Math.ceil((endsAt - environment.now()) / 1_000)
  // This effect runs after every drawing, and sets the timer for the next change of the text.
  useEffect(() => {
    if (seconds <= 0) return undefined
    // The text changes when `seconds - 1` seconds are left.
    const msUntilChange = endsAt - environment.now() - (seconds - 1) * 1_000
    return environment.after(Math.max(0, msUntilChange), () => redraw(undefined))
  })
  return <span class="age">{seconds <= 0 ? 'now' : formatTwoUnits(seconds * 1_000)}</span>
}

/** The report that a lock has ended may arrive this late, in ms. */
const lateReportMs = 5_000

/**
 * The time until a lock ends, in a table. Shows `–` for a lock with neither a ttl nor a `maxHold`,
 * and `?` if this page does not know the time. A refresh by the session moves the end, but no event
 * reports the refresh. So if the lock still exists after `endsAt`, its new end is unknown.
 */
export function LockTimeLeft({ ttl, maxHold, endsAt }: KnownLock) {
  const { environment } = useAppState()
  if (ttl === undefined && maxHold === undefined) return <span class="time-none">–</span>
  if (endsAt === undefined || endsAt + lateReportMs < environment.now()) {
    return (
      <span class="quiet" title="This time is not known here.">
        ?
      </span>
    )
  }
  return <TimeLeft endsAt={endsAt} />
}

/** The highest number of dots that show the length of a queue. */
const maxDots = 10

/** The length of a queue, or of the list of the requests of a session, as a number and as dots. */
export function QueueLength({ length }: { length: number }) {
  if (length === 0) return <span class="queue-none">–</span>
  return (
    <span class="queue">
      <span class="queue-count">{formatCount(length)}</span>
      <span class="queue-dots" aria-hidden="true">
        {Array.from({ length: Math.min(length, maxDots) }, (_, index) => (
          <i key={index} />
        ))}
      </span>
    </span>
  )
}

interface NoteProps {
  readonly kind?: 'plain' | 'wait' | 'bad' | undefined
  readonly children: ComponentChildren
}

/** A paragraph of text: `wait` marks something incomplete, `bad` marks a problem. */
export function Note({ kind = 'plain', children }: NoteProps) {
  return (
    <p class={`note note-${kind}`} role={kind === 'bad' ? 'alert' : undefined}>
      {children}
    </p>
  )
}

/** The text in place of an empty list. */
export function EmptyText({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>
}

/** A command that takes a lock of this broker, for a user who sees no lock yet. */
export function ExampleCommand() {
  const { feed } = useLiveAppState()
  const url = feed.url.replace(/\/$/, '')
  return <code class="command">{`npx holdfast run --url ${url} orders -- sleep 60`}</code>
}

interface PanelProps {
  readonly title: string
  /** Content beside the title. */
  readonly aside?: ComponentChildren
  readonly children: ComponentChildren
  readonly class?: string | undefined
}

export function Panel({ title, aside, children, class: cssClass = '' }: PanelProps) {
  const id = `panel-${title.toLowerCase().replace(/\W+/g, '-')}`
  return (
    <section class={`panel ${cssClass}`} aria-labelledby={id}>
      <header class="panel-head">
        <h2 id={id}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  )
}
