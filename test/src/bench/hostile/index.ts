/** The list of all kinds of hostile clients. */
import type { Kind } from './kind.js'
import { lockingKinds } from './locking.js'
import { queryingKinds } from './querying.js'
import { sendingKinds } from './sending.js'
import { specialKinds } from './special.js'

export const kinds: readonly Kind[] = [
  ...queryingKinds,
  ...lockingKinds,
  ...sendingKinds,
  ...specialKinds,
]

/** @throws If no kind has this name. */
export function kindNamed(name: string): Kind {
  const kind = kinds.find((candidate) => candidate.name === name)
  if (kind === undefined) throw new Error(`Unknown kind of hostile client: ${name}`)
  return kind
}
