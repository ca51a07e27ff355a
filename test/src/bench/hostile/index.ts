/** All kinds of hostile clients. */
import type { Kind } from './kind.js'
import { lockingKinds } from './locking.js'
import { lookingKinds } from './looking.js'
import { speakingKinds } from './speaking.js'

export const kinds: readonly Kind[] = [...lookingKinds, ...lockingKinds, ...speakingKinds]

/** @throws If there is none of that name. */
export function kindNamed(name: string): Kind {
  const kind = kinds.find((each) => each.name === name)
  if (kind === undefined) throw new Error(`there is no kind ${name}`)
  return kind
}
