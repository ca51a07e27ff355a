/** Who sits at this window, and how people are shown: a name, a colour, two letters. */

export interface Person {
  readonly name: string
  /** Of the circle they are shown in, in degrees. */
  readonly hue: number
}

const names = [
  ...['Ada', 'Grace', 'Alan', 'Barbara', 'Edsger', 'Katherine', 'Leslie', 'Radia', 'Dennis'],
  ...['Margaret', 'Tony', 'Frances', 'Niklaus', 'Hedy'],
]

/** Somebody new for each window; the same after a reload. */
export function me(): Person {
  const known = sessionStorage.getItem('name') ?? new URLSearchParams(location.search).get('name')
  const name = known ?? names[Math.floor(Math.random() * names.length)]!
  sessionStorage.setItem('name', name)
  return person(name)
}

export function person(name: string | undefined): Person {
  const shown = name ?? 'Somebody'
  let hue = 0
  for (const letter of shown) hue = (hue * 31 + letter.codePointAt(0)! * 47) % 360
  return { name: shown, hue }
}
