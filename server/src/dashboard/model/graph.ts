/**
 * Who waits for whom, around one key: its holders in the middle, who waits for it to the right, and
 * to the left whatever the holders wait for themselves. Who waits in a circle waits for ever, so
 * circles are found and named.
 */
import type { KeyRow } from './lockModel.js'
import type { Party } from './sessions.js'

/** A session in the picture. */
export interface Node {
  readonly session: string
  readonly name: string | undefined
  /** 0 holds the key; 1 waits for it, 2 for those who do; -1 has what a holder waits for. */
  readonly column: number
  readonly row: number
}

/** A session that waits for what another one holds. */
export interface Edge {
  readonly from: string
  readonly to: string
  readonly key: string
  /** Part of a circle. */
  readonly isCircular: boolean
}

export interface Picture {
  readonly nodes: readonly Node[]
  readonly edges: readonly Edge[]
  /** How many more wait for the key than are drawn, and how many more hold it. */
  readonly hiddenWaiters: number
  readonly hiddenHolders: number
  /** Sessions that wait for one another, in order, the first one once. */
  readonly circle: readonly string[]
}

/** So many sessions are drawn above one another, and so far to each side. */
const mostRows = 6
const leftmost = -3
const rightmost = 2

export function pictureOf(
  key: string,
  entries: ReadonlyMap<string, KeyRow>,
  parties: ReadonlyMap<string, Party>,
): Picture {
  const draft = new Draft(entries, parties)
  const entry = entries.get(key)
  const holders = unique(entry?.held ?? [])
  const waiters = unique(entry?.waiting ?? [])
  for (const session of holders.slice(0, mostRows)) draft.place(session, 0)
  for (const session of waiters.slice(0, mostRows)) draft.place(session, 1)
  for (let column = 0; column > leftmost; column--) draft.placeBlockers(column)
  for (let column = 1; column < rightmost; column++) draft.placeFollowers(column, new Set(waiters))
  const circle = holders.map((holder) => circleFrom(holder, draft)).find((each) => each.length > 0)
  return {
    nodes: [...draft.nodes.values()],
    edges: draft.edges(circle ?? []),
    hiddenWaiters: Math.max(0, waiters.length - mostRows),
    hiddenHolders: Math.max(0, holders.length - mostRows),
    circle: circle ?? [],
  }
}

class Draft {
  readonly nodes = new Map<string, Node>()
  readonly #entries: ReadonlyMap<string, KeyRow>
  readonly #parties: ReadonlyMap<string, Party>
  readonly #rows = new Map<number, number>()

  constructor(entries: ReadonlyMap<string, KeyRow>, parties: ReadonlyMap<string, Party>) {
    this.#entries = entries
    this.#parties = parties
  }

  place(session: string, column: number): void {
    const row = this.#rows.get(column) ?? 0
    if (this.nodes.has(session) || row >= mostRows) return
    this.#rows.set(column, row + 1)
    this.nodes.set(session, { session, name: this.#parties.get(session)?.name, column, row })
  }

  /** To the left of a column: who holds what its sessions wait for. */
  placeBlockers(column: number): void {
    for (const session of this.#contains(column)) {
      for (const { to } of this.blockersOf(session)) this.place(to, column - 1)
    }
  }

  /** To the right of a column: who waits for what its sessions hold. */
  placeFollowers(column: number, except: ReadonlySet<string>): void {
    for (const session of this.#contains(column)) {
      for (const { key } of this.#parties.get(session)?.holds ?? []) {
        for (const waiter of unique(this.#entries.get(key)?.waiting ?? [])) {
          if (!except.has(waiter)) this.place(waiter, column + 1)
        }
      }
    }
  }

  blockersOf(session: string): { readonly to: string; readonly key: string }[] {
    const awaits = this.#parties.get(session)?.awaits ?? []
    return awaits.flatMap(({ key }) =>
      unique(this.#entries.get(key)?.held ?? [])
        .slice(0, mostRows)
        .map((to) => ({ to, key })),
    )
  }

  edges(circle: readonly string[]): Edge[] {
    const next = new Map(circle.map((each, index) => [each, circle[(index + 1) % circle.length]]))
    return [...this.nodes.keys()].flatMap((from) =>
      this.blockersOf(from)
        .map(({ to, key }) => ({ from, to, key, isCircular: next.get(from) === to }))
        .filter((edge) => edge.isCircular || this.#leadsOn(edge)),
    )
  }

  /** From right to left: what else these sessions wait for has nothing to do with the key. */
  #leadsOn({ from, to }: Edge): boolean {
    const [a, b] = [this.nodes.get(from), this.nodes.get(to)]
    return a !== undefined && b !== undefined && a.column > b.column
  }

  #contains(column: number): string[] {
    return [...this.nodes.values()]
      .filter((node) => node.column === column)
      .map(({ session }) => session)
  }
}

/** The sessions on a way from this one back to itself; none if there is no such way. */
function circleFrom(start: string, draft: Draft): string[] {
  const cameFrom = new Map<string, string>()
  const next = [start]
  for (let session = next.shift(); session !== undefined; session = next.shift()) {
    for (const { to } of draft.blockersOf(session)) {
      if (to === start) return wayTo(session, start, cameFrom)
      if (cameFrom.has(to)) continue
      cameFrom.set(to, session)
      next.push(to)
    }
  }
  return []
}

function wayTo(end: string, start: string, cameFrom: ReadonlyMap<string, string>): string[] {
  const way = [end]
  for (let at = end; at !== start; ) {
    at = cameFrom.get(at) as string
    way.unshift(at)
  }
  return way
}

function unique(of: readonly { readonly session: string }[]): string[] {
  return [...new Set(of.map(({ session }) => session))]
}
