/**
 * Explores a small world: a table with a few sessions, and the commands to try in each state.
 *
 * A path is a list of commands in order. The paths form a tree, which the search visits breadth
 * first. After each command, the search compares the table with its model, a second and simpler
 * implementation. If two paths lead to the same state, all later commands have the same effects
 * after both paths. Therefore the search continues from each state only once.
 */
import { createHash } from 'node:crypto'
import type { Command } from '@holdfast/server/core'
import type { PlainState } from './plainValues.js'
import { TableAndModel } from './tableAndModel.js'

export interface World {
  /**
   * The largest number of waiters that one command grants. The default is larger than any queue of
   * these worlds.
   */
  readonly grantsPerCommand?: number
  /** The commands that create the sessions. */
  readonly start: readonly Command[]
  /** The commands to try in this state. */
  moves(state: PlainState): Command[]
}

export interface ExplorationResult {
  /** The number of different states after 1 to `depth - 1` commands; later ones are not stored. */
  readonly states: number
  /** The number of commands that were tried and compared. */
  readonly commandCount: number
}

/** Searches paths of up to `depth` commands, as described above. */
export function explore(world: World, depth: number): ExplorationResult {
  // The set contains digests, because the states themselves would take gigabytes.
  const seenStates = new Set<string>()
  let commandCount = 0
  let frontier: Command[][] = [[]]
  for (let length = 1; length <= depth; length++) {
    const nextFrontier: Command[][] = []
    for (const path of frontier) {
      for (const command of movesAfter(world, path)) {
        const tableAndModel = new TableAndModel(world.grantsPerCommand)
        tableAndModel.replay(world.start)
        tableAndModel.replay(path)
        tableAndModel.apply(command)
        commandCount++
        // No command follows, so the state after the last command need not be stored.
        if (length === depth) continue
        const stateDigest = createHash('sha1')
          .update(JSON.stringify(tableAndModel.state))
          .digest('base64')
        if (!seenStates.has(stateDigest)) nextFrontier.push([...path, command])
        seenStates.add(stateDigest)
      }
    }
    frontier = nextFrontier
  }
  return { states: seenStates.size, commandCount }
}

/** The commands that may come after the start of a world and this path. */
function movesAfter(world: World, path: readonly Command[]): Command[] {
  const tableAndModel = new TableAndModel(world.grantsPerCommand)
  tableAndModel.replay(world.start)
  tableAndModel.replay(path)
  return world.moves(tableAndModel.state)
}
