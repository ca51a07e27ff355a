/**
 * The oracle of a world with cells. A cell is a broker that serves a part of the keys. The oracle
 * observes the tables of all cells and the clients, and reports each broken rule:
 *
 * - A broker grants only keys of its own cell, and so each key is always locked in the same cell.
 * - At any time, at most one client believes that it holds a given key.
 * - No broker fails by itself. A broker that a fault kills does not count.
 *
 * The oracle also collects the violations that the programs of the clients find. For example,
 * `CellProgram` checks that the faults of other cells have no effect on the cell without faults.
 */
import type { Lock as ClientLock } from '@holdfast/client'
import type { Command, Effect, LockTable } from '@holdfast/server/core'
import type { BrokerMachine, BrokerObserver } from '../brokerMachine.js'
import type { CallObserver } from '../callOracle.js'
import type { NetworkObserver } from '../network.js'
import type { LogObserver } from '../observedLog.js'
import { RunReport } from '../runReport.js'
import type { SimProcess } from '../simProcess.js'
import { Trace } from '../trace.js'
import type { World } from '../world.js'
import { expectedCell } from './cellKeys.js'

/** A lock that a client's program has got and has not begun to unlock. */
interface HeldLock {
  readonly lock: ClientLock
  readonly process: SimProcess
}

export class CellOracle implements BrokerObserver, CallObserver {
  readonly trace: Trace
  readonly report: RunReport
  readonly #world: World
  readonly #cellCount: number
  readonly #machines: readonly BrokerMachine[]
  readonly #heldLocks = new Map<string, Set<HeldLock>>()

  /**
   * @param machines The machine of cell 1, then of cell 2, and so on.
   * @param maxTraceLines How many of its last lines the trace keeps.
   */
  constructor(
    world: World,
    cellCount: number,
    machines: readonly BrokerMachine[],
    maxTraceLines: number,
  ) {
    this.#world = world
    this.#cellCount = cellCount
    this.#machines = machines
    this.trace = new Trace(world, maxTraceLines)
    this.report = new RunReport(() => ({ time: world.now, event: world.events }))
  }

  get now(): number {
    return this.#world.now
  }

  get hasViolation(): boolean {
    return this.report.violation !== undefined
  }

  violated(rule: string, detail: string): void {
    this.trace.add('oracle', `${rule}: ${detail}`)
    this.report.violated(rule, detail)
  }

  /**
   * Call when the program of a client has got a lock. Returns a function that the program must call
   * before it unlocks the lock.
   */
  acquired(lock: ClientLock, keys: readonly string[], process: SimProcess): () => void {
    const heldLock = { lock, process }
    for (const key of keys) {
      const locksOfKey = this.#heldLocks.get(key) ?? new Set()
      this.#heldLocks.set(key, locksOfKey)
      for (const other of locksOfKey) this.#checkExclusion(key, heldLock, other)
      locksOfKey.add(heldLock)
    }
    return () => {
      for (const key of keys) this.#heldLocks.get(key)?.delete(heldLock)
    }
  }

  #checkExclusion(key: string, { lock, process }: HeldLock, other: HeldLock): void {
    if (other.process.isDead || !other.lock.held) return
    this.violated(
      'two clients never hold one key',
      `${other.process.name} holds ${key} with fence ${other.lock.fence}, and ${process.name} got ` +
        `the key with fence ${lock.fence}`,
    )
  }

  /** A table has applied a command. */
  applied(table: LockTable, command: Command, effects: readonly Effect[]): void {
    const index = this.#machines.findIndex(({ broker }) => broker?.table === table)
    // The broker of this table has ended.
    if (index === -1) return
    const cell = index + 1
    for (const effect of effects) {
      if (effect.kind !== 'granted') continue
      const { key, fence } = effect.lock
      this.trace.add(`cell ${cell}`, `${command.type} granted ${key} ${fence}`)
      this.report.count(`granted in cell ${cell}`)
      // Only the grant of a request that waited names this request.
      if (effect.request !== undefined) this.report.count('granted to a waiter')
      const expected = expectedCell(key, this.#cellCount)
      if (expected === cell) continue
      this.violated(
        'a broker grants only keys of its cell',
        `cell ${cell} granted ${key}, which belongs to cell ${expected}`,
      )
    }
  }

  readonly network: NetworkObserver = {
    sent: ({ clientProcess, number }, direction, frame) =>
      this.trace.add(
        `${clientProcess.name}/${number}`,
        `${direction === 'up' ? '->' : '<-'} ${frame}`,
      ),
    received: () => {},
    closed: ({ clientProcess, number }, side, code) =>
      this.trace.add(`${clientProcess.name}/${number}`, `closed at ${side} ${code ?? ''}`),
  }

  brokerStarted(_: BrokerMachine, { name }: SimProcess): LogObserver {
    this.trace.add(name, 'starts')
    return {
      proposed: () => {},
      restored: () => {},
      served: () => this.report.count('broker serves'),
      resigned: () => {},
      executed: () => {},
      beforeSnapshot: () => {},
      failed: (error) => this.violated('a broker does not fail', `${name}: ${error.message}`),
    }
  }

  brokerDrains({ name }: BrokerMachine): void {
    this.trace.add(name, 'drains')
  }

  brokerEnded({ name }: BrokerMachine): void {
    this.trace.add(name, 'ends')
  }

  /** This oracle checks no failed requests. */
  requestFailed(): void {}
}
