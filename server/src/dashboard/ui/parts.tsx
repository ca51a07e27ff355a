/** Small pieces that all pages share: keys, sessions, modes, ages, notes. */
import type { LockMode } from '@holdfast/client'
import type { ComponentChildren } from 'preact'
import { count, dateOf, shortId, span } from '../model/format.js'
import { addressOf } from './router.js'
import { useShared } from './shared.js'

export function KeyLink({ name, tabIndex }: { name: string; tabIndex?: number | undefined }) {
  const more = tabIndex === undefined ? {} : { tabIndex }
  return (
    <a class="key" href={addressOf('lock', name)} title={name} {...more}>
      {name}
    </a>
  )
}

interface WhoProps {
  readonly session: string
  readonly name?: string | undefined
  readonly tabIndex?: number | undefined
}

/** A session: its name, if it has one, and enough of its id. */
export function Who({ session, name, tabIndex }: WhoProps) {
  const more = tabIndex === undefined ? {} : { tabIndex }
  return (
    <a class="who" href={addressOf('session', session)} title={`session ${session}`} {...more}>
      {name !== undefined && <span class="who-name">{name}</span>}
      <span class="who-id">{shortId(session)}</span>
    </a>
  )
}

export function Mode({ mode }: { mode: LockMode }) {
  return <span class={`mode mode-${mode}`}>{mode}</span>
}

/** How long ago; the exact time on a longer look. */
export function Age({ since }: { since: number }) {
  const { environment } = useShared()
  return (
    <span class="age" title={dateOf(since)}>
      {span(environment.wall() - since)}
    </span>
  )
}

/** Who waits, as a row of dots: a queue is seen before it is read. */
export function Queue({ length, isPartial = false }: { length: number; isPartial?: boolean }) {
  if (length === 0) return <span class="queue-none">–</span>
  return (
    <span class="queue">
      <span class="queue-count">
        {count(length)}
        {isPartial && '+'}
      </span>
      <span class="queue-dots" aria-hidden="true">
        {Array.from({ length: Math.min(length, 10) }, (_, index) => (
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

export function Note({ kind = 'plain', children }: NoteProps) {
  return (
    <p class={`note note-${kind}`} role={kind === 'bad' ? 'alert' : undefined}>
      {children}
    </p>
  )
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>
}

interface PanelProps {
  readonly title: string
  readonly aside?: ComponentChildren
  readonly children: ComponentChildren
  readonly class?: string | undefined
}

export function Panel({ title, aside, children, class: name = '' }: PanelProps) {
  const id = `panel-${title.toLowerCase().replace(/\W+/g, '-')}`
  return (
    <section class={`panel ${name}`} aria-labelledby={id}>
      <header class="panel-head">
        <h2 id={id}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  )
}
