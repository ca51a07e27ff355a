/** The users of the demo: each has a name and a color, and each window is one user. */

export interface Person {
  readonly name: string
  /** The hue of the user's color, in degrees. */
  readonly hue: number
}

const names = [
  ...['Ada', 'Grace', 'Alan', 'Barbara', 'Edsger', 'Katherine', 'Leslie', 'Radia', 'Dennis'],
  ...['Margaret', 'Tony', 'Frances', 'Niklaus', 'Hedy'],
]

/** The user of this window: a random user for a new window, and the same user after a reload. */
export function windowUser(): Person {
  const known = sessionStorage.getItem('name') ?? new URLSearchParams(location.search).get('name')
  const name = known ?? names[Math.floor(Math.random() * names.length)]!
  sessionStorage.setItem('name', name)
  return person(name)
}

/** The user with this name; the color follows from the name. */
export function person(name: string | undefined): Person {
  const shownName = name ?? 'Unknown user'
  let hue = 0
  for (const letter of shownName) hue = (hue * 31 + letter.codePointAt(0)! * 47) % 360
  return { name: shownName, hue }
}
