/**
 * The ids of incarnations, and the names that operators see. Each time a broker joins the log, the
 * broker begins a new incarnation, whose id must be unique for ever. If the operator has named the
 * broker, the id begins with this name, and operators see only the name.
 */

/** Separates the name of a broker from the random part of an id. No name has this character. */
const separator = '~'

export function newIncarnationId(name: string | undefined, randomId: string): string {
  return name === undefined ? randomId : `${name}${separator}${randomId}`
}

/**
 * The names of these incarnations, each as {@link nameIn} shows it. If two brokers have the same
 * name, operators see their ids, because otherwise they could not tell the brokers apart.
 */
export function namesOf(ids: readonly string[]): string[] {
  return ids.map((id) => nameIn(id, ids))
}

/** The name of the incarnation `id`; the id itself if another of the `ids` has the same name. */
export function nameIn(id: string, ids: Iterable<string>): string {
  const name = givenNameIn(id)
  const isUnique = [...ids].every((other) => other === id || givenNameIn(other) !== name)
  return isUnique ? name : id
}

/** The name at the beginning of an id; the whole id if the operator has given no name. */
function givenNameIn(id: string): string {
  return id.split(separator, 1)[0] as string
}
