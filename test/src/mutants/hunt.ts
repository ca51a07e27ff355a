/**
 * Hunts a mutant: runs the simulation in a copy of the build that has the mutant, in a process of
 * its own, until the oracles of the simulation report a broken promise.
 */
import { fork } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { copyBuildWith } from './build.js'
import type { Mutant } from './mutant.js'

/** Which worlds a hunt may run. */
export interface Hunt {
  /** The seed of the first world. */
  readonly from: number
  /** How many worlds to run at most. */
  readonly seeds: number
  /** How many events each world has. */
  readonly events: number
}

/** A hunt in worlds that have this many brokers. */
export interface HuntOrder extends Hunt {
  readonly brokers: number
}

/** The result of a hunt. */
export interface Catch {
  /** The world that caught the mutant; undefined if no world did. */
  readonly seed: number | undefined
  /** The rule of the simulation that was broken in the world. */
  readonly rule: string | undefined
  /** The error of the language that the mutant threw, such as a TypeError; undefined if none. */
  readonly error: string | undefined
  /** How many worlds ran. */
  readonly seeds: number
  readonly seconds: number
}

/**
 * Whether the simulation caught the mutant by a broken promise. A mutant that throws an error of
 * the language is not caught, because its replacement no longer fits the code around it.
 */
export function isCaught({ seed, error }: Catch): boolean {
  return seed !== undefined && error === undefined
}

/** Runs the simulation on a copy of the build with the mutant, until a world fails. */
export async function hunt(mutant: Mutant, order: Hunt): Promise<Catch> {
  const copy = copyBuildWith(mutant)
  try {
    return await runIn(copy, { ...order, brokers: mutant.brokers ?? 1 })
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

function runIn(copy: string, order: HuntOrder): Promise<Catch> {
  const program = join(copy, 'test/dist/mutants/huntProcess.js')
  const child = fork(program, [JSON.stringify(order)], { stdio: 'inherit' })
  const result = new Promise<Catch>((resolve, reject) => {
    child.once('message', (caught) => resolve(caught as Catch))
    child.once('error', reject)
    child.once('exit', (code) =>
      reject(new Error(`The process of the hunt exited with ${code} before it sent a result`)),
    )
  })
  return result.finally(() => {
    if (child.exitCode === null) child.kill('SIGKILL')
  })
}
