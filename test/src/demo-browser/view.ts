/** Draws the page anew from its data; a text that the user is typing keeps its cursor. */
import type { Desk } from './desk.js'
import type { Document } from './documents.js'
import { type Person, person } from './people.js'
import { editKey, type Presence, viewKey } from './presence.js'

export interface ViewData {
  readonly me: Person
  readonly session: string
  readonly documents: readonly Document[]
  readonly presence: Presence
  readonly desk: Desk
  /** The problem of the connection; undefined if it is live. */
  readonly problem: string | undefined
}

type Child = Node | string | undefined

/** Makes an element from its tag and classes (`p.quiet`), its properties and its children. */
function make<T extends HTMLElement = HTMLElement>(
  selector: string,
  properties: Partial<T> = {},
  ...children: readonly Child[]
): T {
  const [tag, ...classes] = selector.split('.')
  const element = Object.assign(document.createElement(tag!), properties) as T
  element.classList.add(...classes)
  element.append(...children.filter((child) => child !== undefined))
  return element
}

function avatar({ name, hue }: Person, title: string): HTMLElement {
  const circle = make('span.avatar', { title }, name.slice(0, 1))
  circle.style.setProperty('--hue', `${hue}`)
  return circle
}

function button(text: string, kind: string, onclick: () => void): HTMLElement {
  return make<HTMLButtonElement>(`button.${kind}`, { type: 'button', onclick }, text)
}

/** The user who edits a document; undefined if it is free. */
function editorOf({ presence, session }: ViewData, id: string) {
  const lock = presence.on(editKey(id))[0]
  if (lock === undefined) return undefined
  return { ...person(lock.name), isMe: lock.session === session }
}

function row(known: ViewData, doc: Document): HTMLElement {
  const { desk, presence, session } = known
  const editor = editorOf(known, doc.id)
  const readers = presence.on(viewKey(doc.id)).map((lock) => {
    const reader = person(lock.name)
    const title = lock.session === session ? '(you)' : 'has the document open'
    return avatar(reader, `${reader.name} ${title}`)
  })
  const state =
    editor === undefined
      ? make('span.state', {}, doc.text.split('\n')[0]!)
      : make(
          `span.state.busy${editor.isMe ? '.mine' : ''}`,
          {},
          make('span.dot'),
          editor.isMe ? 'You are editing' : `${editor.name} is editing`,
        )
  const open = make<HTMLButtonElement>(
    'button.row',
    { type: 'button', onclick: () => desk.show(doc) },
    make('span.texts', {}, make('strong', {}, doc.title), state),
    make('span.avatars', {}, ...readers),
  )
  open.setAttribute('aria-current', String(desk.open?.id === doc.id))
  open.dataset['id'] = doc.id
  return open
}

function actions(known: ViewData, doc: Document): HTMLElement {
  const { desk, me } = known
  const editor = editorOf(known, doc.id)
  const buttons: HTMLElement[] = []
  if (desk.state === 'editing') {
    buttons.push(
      button('Save', 'primary', () => void desk.finish(me.name)),
      button('Discard', 'plain', () => desk.cancel()),
    )
  } else if (editor === undefined) {
    buttons.push(button('Edit', 'primary', () => void desk.edit()))
  } else {
    buttons.push(
      desk.state === 'waiting'
        ? button('Stop waiting', 'plain', () => desk.stopWaiting())
        : button('Edit when free', 'primary', () => void desk.wait()),
      button('Take over', 'danger', () => void desk.takeOver()),
    )
  }
  const next =
    desk.state === 'waiting' && editor !== undefined
      ? make('p.quiet', {}, `You edit as soon as ${editor.name} is done.`)
      : undefined
  return make('div.actions', {}, ...buttons, next)
}

function lossOf(known: ViewData): HTMLElement | undefined {
  const { desk } = known
  const { loss } = desk
  if (loss === undefined || loss.document.id !== desk.open?.id) return undefined
  const editor = editorOf(known, loss.document.id)
  const message =
    loss.reason === 'stolen'
      ? `${editor?.name ?? 'Another user'} took this document over.`
      : 'The connection was lost, and with it the right to edit.'
  const dismiss = () => {
    desk.loss = undefined
    desk.stopWaiting()
  }
  const box = make(
    'div.loss',
    {},
    make('strong', {}, message),
    make('p', {}, 'Your text was not saved:'),
    make('pre', {}, loss.draft),
    button('All right', 'plain', dismiss),
  )
  box.setAttribute('role', 'alert')
  return box
}

function body(known: ViewData, doc: Document): HTMLElement {
  const { desk } = known
  if (desk.state !== 'editing') return make('div.text', {}, doc.text)
  const area = make<HTMLTextAreaElement>('textarea.text', { value: desk.draft, spellcheck: false })
  area.setAttribute('aria-label', doc.title)
  area.oninput = () => {
    desk.draft = area.value
  }
  return area
}

function sheet(known: ViewData): HTMLElement {
  const doc = known.documents.find(({ id }) => id === known.desk.open?.id)
  if (doc === undefined) {
    return make(
      'section.sheet.empty',
      {},
      make('p', {}, 'Open a document, here and in another window.'),
    )
  }
  const others = known.presence
    .on(viewKey(doc.id))
    .filter(({ session }) => session !== known.session)
    .map(({ name }) => person(name).name)
  const company =
    others.length === 0 ? 'Only you have this open' : `Also here: ${others.join(', ')}`
  return make(
    'section.sheet',
    {},
    make(
      'header',
      {},
      button('‹ All documents', 'back', () => known.desk.close()),
      make('h2', {}, doc.title),
      make('p.quiet', {}, doc.by === '' ? company : `${company} · last saved by ${doc.by}`),
    ),
    lossOf(known),
    body(known, doc),
    actions(known, doc),
  )
}

/** Draws everything into `root`. A text that the user is typing stays as it is, with its cursor. */
export function render(root: HTMLElement, known: ViewData): void {
  const typing = root.querySelector<HTMLTextAreaElement>('textarea')
  const keeps = typing !== null && known.desk.state === 'editing'
  const kept = keeps ? { start: typing.selectionStart, end: typing.selectionEnd } : undefined
  const focused = kept !== undefined && document.activeElement === typing
  const { me, problem } = known
  const state = make(`span.pill${problem === undefined ? '' : '.bad'}`, {}, problem ?? 'live')
  root.replaceChildren(
    make(
      'header.top',
      {},
      make('h1', {}, 'Documents'),
      state,
      make('span.who', {}, avatar(me, me.name), me.name),
    ),
    make(
      'main',
      {},
      make('nav', {}, ...known.documents.map((doc) => row(known, doc))),
      sheet(known),
    ),
  )
  root.classList.toggle('open', known.desk.open !== undefined)
  const area = root.querySelector<HTMLTextAreaElement>('textarea')
  if (area === null) return
  if (kept !== undefined) area.setSelectionRange(kept.start, kept.end)
  if (focused || kept === undefined) area.focus({ preventScroll: true })
}
