/** Draws the whole page from its data. A text that the user is typing keeps its cursor. */
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
  /** The problem of the connection; undefined while the session is connected. */
  readonly problem: string | undefined
}

type Child = Node | string | undefined

/** Makes an element from its tag and classes (`p.quiet`), its properties and its children. */
function makeElement<T extends HTMLElement = HTMLElement>(
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
  const circle = makeElement('span.avatar', { title }, name.slice(0, 1))
  circle.style.setProperty('--hue', `${hue}`)
  return circle
}

function button(text: string, kind: string, onclick: () => void): HTMLElement {
  return makeElement<HTMLButtonElement>(`button.${kind}`, { type: 'button', onclick }, text)
}

/** The user who edits a document; undefined if no user edits it. */
function editorOf({ presence, session }: ViewData, id: string) {
  const lock = presence.locksOf(editKey(id))[0]
  if (lock === undefined) return undefined
  return { ...person(lock.name), isMe: lock.session === session }
}

/** The row of a document in the list: its title, its editor and its readers. */
function row(data: ViewData, doc: Document): HTMLElement {
  const { desk, presence, session } = data
  const editor = editorOf(data, doc.id)
  const readers = presence.locksOf(viewKey(doc.id)).map((lock) => {
    const reader = person(lock.name)
    const title = lock.session === session ? '(you)' : 'has the document open'
    return avatar(reader, `${reader.name} ${title}`)
  })
  const state =
    editor === undefined
      ? makeElement('span.state', {}, doc.text.split('\n')[0]!)
      : makeElement(
          `span.state.busy${editor.isMe ? '.mine' : ''}`,
          {},
          makeElement('span.dot'),
          editor.isMe ? 'You are editing' : `${editor.name} is editing`,
        )
  const open = makeElement<HTMLButtonElement>(
    'button.row',
    { type: 'button', onclick: () => desk.show(doc) },
    makeElement('span.texts', {}, makeElement('strong', {}, doc.title), state),
    makeElement('span.avatars', {}, ...readers),
  )
  open.setAttribute('aria-current', String(desk.open?.id === doc.id))
  open.dataset['id'] = doc.id
  return open
}

/** The buttons below a document. */
function actions(data: ViewData, doc: Document): HTMLElement {
  const { desk, me } = data
  const editor = editorOf(data, doc.id)
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
  const hint =
    desk.state === 'waiting' && editor !== undefined
      ? makeElement('p.quiet', {}, `You edit as soon as ${editor.name} is done.`)
      : undefined
  return makeElement('div.actions', {}, ...buttons, hint)
}

/** The alert about a lost lock, with the text that was not saved. */
function lossOf(data: ViewData): HTMLElement | undefined {
  const { desk } = data
  const { loss } = desk
  if (loss === undefined || loss.document.id !== desk.open?.id) return undefined
  const editor = editorOf(data, loss.document.id)
  const message =
    loss.reason === 'stolen'
      ? `${editor?.name ?? 'Another user'} took this document over.`
      : 'The connection was lost, and with it the right to edit.'
  const dismiss = () => {
    desk.loss = undefined
    desk.stopWaiting()
  }
  const box = makeElement(
    'div.loss',
    {},
    makeElement('strong', {}, message),
    makeElement('p', {}, 'Your text was not saved:'),
    makeElement('pre', {}, loss.draft),
    button('All right', 'plain', dismiss),
  )
  box.setAttribute('role', 'alert')
  return box
}

/** The text of a document: a text field while the user edits it. */
function body(data: ViewData, doc: Document): HTMLElement {
  const { desk } = data
  if (desk.state !== 'editing') return makeElement('div.text', {}, doc.text)
  const area = makeElement<HTMLTextAreaElement>('textarea.text', {
    value: desk.draft,
    spellcheck: false,
  })
  area.setAttribute('aria-label', doc.title)
  area.oninput = () => {
    desk.draft = area.value
  }
  return area
}

/** The open document with its text and its buttons. */
function sheet(data: ViewData): HTMLElement {
  const doc = data.documents.find(({ id }) => id === data.desk.open?.id)
  if (doc === undefined) {
    return makeElement(
      'section.sheet.empty',
      {},
      makeElement('p', {}, 'Open a document, here and in another window.'),
    )
  }
  const others = data.presence
    .locksOf(viewKey(doc.id))
    .filter(({ session }) => session !== data.session)
    .map(({ name }) => person(name).name)
  const readersText =
    others.length === 0 ? 'Only you have this open' : `Also here: ${others.join(', ')}`
  return makeElement(
    'section.sheet',
    {},
    makeElement(
      'header',
      {},
      button('‹ All documents', 'back', () => data.desk.close()),
      makeElement('h2', {}, doc.title),
      makeElement(
        'p.quiet',
        {},
        doc.by === '' ? readersText : `${readersText} · last saved by ${doc.by}`,
      ),
    ),
    lossOf(data),
    body(data, doc),
    actions(data, doc),
  )
}

/** Draws the page into `root`. The text field keeps its selection and its focus. */
export function render(root: HTMLElement, data: ViewData): void {
  const oldField = root.querySelector<HTMLTextAreaElement>('textarea')
  const isTyping = oldField !== null && data.desk.state === 'editing'
  const selection = isTyping
    ? { start: oldField.selectionStart, end: oldField.selectionEnd }
    : undefined
  const hadFocus = selection !== undefined && document.activeElement === oldField
  const { me, problem } = data
  const state = makeElement(
    `span.pill${problem === undefined ? '' : '.bad'}`,
    {},
    problem ?? 'live',
  )
  root.replaceChildren(
    makeElement(
      'header.top',
      {},
      makeElement('h1', {}, 'Documents'),
      state,
      makeElement('span.who', {}, avatar(me, me.name), me.name),
    ),
    makeElement(
      'main',
      {},
      makeElement('nav', {}, ...data.documents.map((doc) => row(data, doc))),
      sheet(data),
    ),
  )
  root.classList.toggle('open', data.desk.open !== undefined)
  const area = root.querySelector<HTMLTextAreaElement>('textarea')
  if (area === null) return
  if (selection !== undefined) area.setSelectionRange(selection.start, selection.end)
  if (hadFocus || selection === undefined) area.focus({ preventScroll: true })
}
