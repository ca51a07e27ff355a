/**
 * Tries every order of a few commands in a small world. A small world has the commands that open a
 * few sessions, and the moves: the commands to try in each state.
 *
 * A path is a list of commands in order. The paths form a tree, which the search visits breadth
 * first. After each command, the search compares the table with its model, a second and simpler
 * implementation. If two paths lead to the same state, all later commands have the same effects
 * after both paths. Therefore the search continues from each state only once.
 */
import { createHash } from 'node:crypto'
import type { Command } from '@holdfast/server/core'
import { expect } from 'chai'
import { quickOrFull } from '../support/counts.js'
import type { PlainState } from './plainValues.js'
import { TableAndModel } from './tableAndModel.js'

export interface World {
  /**
   * The largest number of waiters that one command grants. The default is larger than any queue of
   * these worlds.
   */
  readonly grantsPerCommand?: number
  /** The commands that open the sessions. They may also prepare the table. */
  readonly start: readonly Command[]
  /** The commands to try in this state. */
  moves(state: PlainState): Command[]
}

interface ExplorationResult {
  /** The number of different states after 1 to `depth - 1` commands. */
  readonly states: number
  /** The number of commands that were tried and compared. */
  readonly commandCount: number
}

/**
 * Defines the test of a world. The depth is the number of commands in the longest path. A full run
 * should go deeper than a quick run (`quickOrFull`). A world has several times as many paths if
 * the sessions differ at the start (see `distinctSessions`), so its depth should be smaller.
 *
 * @param name The sessions of the world and what they do, for the title of the test.
 */
export function testSmallWorld(name: string, world: World, depth: number): void {
  it(`the table agrees with the model in every order of up to ${depth} commands of ${name}`, function () {
    this.timeout(quickOrFull(240_000, 1_200_000))
    const { states, commandCount } = explore(world, depth)
    this.test!.title += ` (${commandCount} commands, ${states} states)`
    // A world whose moves have no effect would have a few states only.
    expect(states).to.be.greaterThan(quickOrFull(50, 500))
  })
}

/** Searches paths of up to `depth` commands, as described above. */
function explore(world: World, depth: number): ExplorationResult {
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
        // Compares the table with the model, which `replay` does not.
        tableAndModel.apply(command)
        commandCount++
        // No command follows the last command of a path, so its state need not be stored.
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
