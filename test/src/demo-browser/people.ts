/** The user of this window, and how users are shown: with a name and a color. */

export interface Person {
  readonly name: string
  /** The hue of the user's color, in degrees. */
  readonly hue: number
}

const names = [
  ...['Ada', 'Grace', 'Alan', 'Barbara', 'Edsger', 'Katherine', 'Leslie', 'Radia', 'Dennis'],
  ...['Margaret', 'Tony', 'Frances', 'Niklaus', 'Hedy'],
]

/** The user of this window: a new one for each window, and the same one after a reload. */
export function me(): Person {
  const known = sessionStorage.getItem('name') ?? new URLSearchParams(location.search).get('name')
  const name = known ?? names[Math.floor(Math.random() * names.length)]!
  sessionStorage.setItem('name', name)
  return person(name)
}

export function person(name: string | undefined): Person {
  const shown = name ?? 'Unknown user'
  let hue = 0
  for (const letter of shown) hue = (hue * 31 + letter.codePointAt(0)! * 47) % 360
  return { name: shown, hue }
}
