/**
 * The wait-for graph around one key. An edge leads from a session that waits for a lock to a
 * session that holds the lock. The holders of the key are in the middle. The waiters of the key are
 * to the right, and the sessions that the holders wait for are to the left.
 *
 * A client can divide the work of its session into scopes. Each scope is one task, and the work
 * outside the scopes is another task. Tasks that wait for each other in a cycle are a deadlock. The
 * graph reports one cycle through a holder of the key.
 */
import type { QueryResult, WaitingInfo } from '@holdfast/client'
import type { KeyRow } from './lockModel.js'
import type { SessionRow } from './sessionRows.js'

/** A session in the graph. */
export interface Node {
  readonly session: string
  readonly name: string | undefined
  /**
   * The distance from the holders of the key; a session waits for sessions of a lower column:
   * - 0: the session holds the key.
   * - 1: the session waits for the key.
   * - 2: the session waits for a session of column 1.
   * - -1, -2 and -3: a session of the next higher column (0, -1 or -2) waits for this session.
   */
  readonly column: number
  /** The position in the column, from 0. */
  readonly row: number
}

/** The session `from` waits for `key`, which the session `to` holds. */
export interface Edge {
  readonly from: string
  readonly to: string
  readonly key: string
  /** Whether the edge is a part of the reported cycle. */
  readonly isInCycle: boolean
}

export interface WaitForGraph {
  readonly nodes: readonly Node[]
  readonly edges: readonly Edge[]
  /** How many waiters of the key are not drawn. */
  readonly hiddenWaiters: number
  /** How many holders of the key are not drawn. */
  readonly hiddenHolders: number
  /**
   * The sessions of a cycle: each session waits for the next session, and the last session waits
   * for the first. A session comes twice if the cycle has two of its tasks. Empty if no cycle was
   * found.
   */
  readonly cycle: readonly string[]
}

/** The maximum number of sessions in a column. */
export const maxInColumn = 6
/** The leftmost and the rightmost column of the graph, see {@link Node.column}. */
const firstColumn = -3
const lastColumn = 2

/** Computes the wait-for graph around a key. */
export function waitForGraphOf(
  key: string,
  keyRows: ReadonlyMap<string, KeyRow>,
  sessions: ReadonlyMap<string, SessionRow>,
): WaitForGraph {
  const builder = new GraphBuilder(keyRows, sessions)
  const keyRow = keyRows.get(key)
  const holders = sessionsOf(keyRow?.held ?? [])
  const waiters = sessionsOf(keyRow?.waiting ?? [])
  for (const session of holders.slice(0, maxInColumn)) builder.add(session, 0)
  for (const session of waiters.slice(0, maxInColumn)) builder.add(session, 1)
  for (let column = 0; column > firstColumn; column--) builder.addBlockers(column)
  // The waiters of the key belong in column 1. If column 1 is full, column 2 must not show them.
  for (let column = 1; column < lastColumn; column++) builder.addWaiters(column, new Set(waiters))
  const cycles = (keyRow?.held ?? []).slice(0, maxInColumn).map((lock) => cycleFrom(lock, builder))
  const steps = cycles.find(({ length }) => length > 0) ?? []
  return {
    nodes: [...builder.nodes.values()],
    edges: builder.edges(steps),
    hiddenWaiters: Math.max(0, waiters.length - maxInColumn),
    hiddenHolders: Math.max(0, holders.length - maxInColumn),
    cycle: steps.map(({ from }) => from),
  }
}

/**
 * How many waiters of a query result a graph cannot draw, because it draws at most `maxInColumn`. A
 * session with several requests is one waiter. Each request that the result does not list counts as
 * a waiter.
 */
export function undrawnWaitersOf({
  waiting,
  waitingCount,
}: Pick<QueryResult, 'waiting' | 'waitingCount'>): number {
  const listedSessions = new Set(waiting.map(({ session }) => session))
  return Math.max(0, listedSessions.size + waitingCount - waiting.length - maxInColumn)
}

/** A step of a cycle: an edge that the graph may or may not draw. */
type Step = Pick<Edge, 'from' | 'to' | 'key'>

/** A session that holds a key for which another session waits. */
interface Blocker {
  /** The id of the session that holds the key. */
  readonly to: string
  /** The scope of the lock that the session holds; undefined outside a scope. */
  readonly scope: number | undefined
  readonly key: string
  /** False if the waiter may get the key before this session unlocks it. */
  readonly isCertain: boolean
}

/** Collects the nodes of a graph, column by column. */
class GraphBuilder {
  readonly nodes = new Map<string, Node>()
  readonly #keyRows: ReadonlyMap<string, KeyRow>
  readonly #sessions: ReadonlyMap<string, SessionRow>
  /** How many sessions each column has. */
  readonly #rowCounts = new Map<number, number>()

  constructor(keyRows: ReadonlyMap<string, KeyRow>, sessions: ReadonlyMap<string, SessionRow>) {
    this.#keyRows = keyRows
    this.#sessions = sessions
  }

  /**
   * Adds a session at the end of a column, unless the graph has the session already or the column
   * is full.
   */
  add(session: string, column: number): void {
    const row = this.#rowCounts.get(column) ?? 0
    if (this.nodes.has(session) || row >= maxInColumn) return
    this.#rowCounts.set(column, row + 1)
    this.nodes.set(session, { session, name: this.#sessions.get(session)?.name, column, row })
  }

  /** Adds, to the left of a column, the sessions for which the sessions of the column wait. */
  addBlockers(column: number): void {
    for (const session of this.#sessionsIn(column)) {
      for (const { to } of this.blockersOf(session)) this.add(to, column - 1)
    }
  }

  /**
   * Adds, to the right of a column, the sessions that wait for the sessions of the column.
   *
   * @param excluded Sessions that are not added.
   */
  addWaiters(column: number, excluded: ReadonlySet<string>): void {
    for (const session of this.#sessionsIn(column)) {
      for (const { key } of this.#sessions.get(session)?.holds ?? []) {
        for (const waiter of sessionsOf(this.#keyRows.get(key)?.waiting ?? [])) {
          if (!excluded.has(waiter)) this.add(waiter, column + 1)
        }
      }
    }
  }

  /** The sessions that a session waits for, in all its tasks. */
  blockersOf(session: string): Blocker[] {
    return this.#blockersOfRequests(session, this.#sessions.get(session)?.awaits ?? [])
  }

  /** The sessions that one task of a session waits for. */
  blockersOfTask({ session, scope }: Task): Blocker[] {
    const awaits = this.#sessions.get(session)?.awaits ?? []
    return this.#blockersOfRequests(
      session,
      awaits.filter((request) => request.scope === scope),
    )
  }

  /** The sessions that some of the requests of a session wait for. */
  #blockersOfRequests(session: string, awaits: readonly WaitingInfo[]): Blocker[] {
    return awaits.flatMap(({ key, mode, upgrade }) => {
      const holders = this.#keyRows.get(key)?.held ?? []
      // An upgrade does not wait for the lock that it upgrades.
      const held = upgrade ? holders.filter((lock) => lock.session !== session) : holders
      // If the permits of the key belong to several locks, the waiter may get the permits of any of
      // these locks. So a cycle through one of these locks proves no deadlock.
      const isCertain = mode !== 'permits' || held.length === 1
      return oneOfEachTask(held)
        .slice(0, maxInColumn)
        .map((lock) => ({ to: lock.session, scope: lock.scope, key, isCertain }))
    })
  }

  /**
   * The edges to draw: the edges of the cycle, and the edges that lead to the left. If two tasks of
   * a session wait for the same key, they share an edge.
   */
  edges(cycle: readonly Step[]): Edge[] {
    const cycleIds = new Set(cycle.map(stepIdOf))
    const edges = new Map<string, Edge>()
    for (const from of this.nodes.keys()) {
      for (const { to, key } of this.blockersOf(from)) {
        const id = stepIdOf({ from, to, key })
        const edge = { from, to, key, isInCycle: cycleIds.has(id) }
        if (edge.isInCycle || this.#leadsLeft(edge)) edges.set(id, edge)
      }
    }
    return [...edges.values()]
  }

  /**
   * Whether the edge leads to a column further left. Other edges say nothing about the wait for the
   * key.
   */
  #leadsLeft({ from, to }: Edge): boolean {
    const [fromNode, toNode] = [this.nodes.get(from), this.nodes.get(to)]
    return fromNode !== undefined && toNode !== undefined && fromNode.column > toNode.column
  }

  #sessionsIn(column: number): string[] {
    return [...this.nodes.values()]
      .filter((node) => node.column === column)
      .map(({ session }) => session)
  }
}

/** A scope of a session; if `scope` is undefined, the work of the session outside its scopes. */
interface Task {
  readonly session: string
  readonly scope?: number | undefined
}

/** A step of the search. The step leads from a task to a session that the task waits for. */
interface TaskStep extends Step {
  readonly task: Task
}

/**
 * The steps of the shortest cycle through the task `start`, by a breadth-first search; empty if
 * there is no cycle. A lock as `start` stands for the task that holds the lock.
 */
function cycleFrom(start: Task, builder: GraphBuilder): Step[] {
  const startId = idOf(start)
  /** By the id of each task found: the last step of the path from the start to the task. */
  const lastStepTo = new Map<string, TaskStep>()
  const unvisited = [start]
  for (let task = unvisited.shift(); task !== undefined; task = unvisited.shift()) {
    for (const { to, scope, key, isCertain } of builder.blockersOfTask(task)) {
      if (!isCertain) continue
      const nextTask = { session: to, scope }
      const id = idOf(nextTask)
      const step = { task, from: task.session, to, key }
      if (id === startId) return stepsTo(step, startId, lastStepTo)
      if (lastStepTo.has(id)) continue
      lastStepTo.set(id, step)
      unvisited.push(nextTask)
    }
  }
  return []
}

/** The steps of the path from the start task to the step `last`, gathered from the end. */
function stepsTo(
  last: TaskStep,
  startId: string,
  lastStepTo: ReadonlyMap<string, TaskStep>,
): Step[] {
  const steps = [last]
  for (let { task } = last; idOf(task) !== startId; { task } = steps[0] as TaskStep) {
    steps.unshift(lastStepTo.get(idOf(task)) as TaskStep)
  }
  return steps
}

function stepIdOf({ from, to, key }: Step): string {
  return `${from} ${to} ${key}`
}

function idOf({ session, scope }: Task): string {
  return `${scope ?? ''} ${session}`
}

/** The locks, with only one lock of each task. */
function oneOfEachTask<T extends Task>(locks: readonly T[]): T[] {
  return [...new Map(locks.map((lock) => [idOf(lock), lock])).values()]
}

/** The sessions of these locks or requests, without duplicates. */
function sessionsOf(records: readonly { readonly session: string }[]): string[] {
  return [...new Set(records.map(({ session }) => session))]
}
