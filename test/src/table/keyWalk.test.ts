/**
 * A walk visits the keys in use. Between two steps of the walk, keys may come into use or become
 * idle. The walk visits, once each, the keys that stay in use from its beginning until their visit.
 */
import { type KeyState, KeyTable } from '@holdfast/server/core'
import { expect } from 'chai'
import fc from 'fast-check'

/** A key table, and a record of the keys that the test has brought into use and not released. */
class KeysInUse {
  readonly table = new KeyTable()
  readonly states = new Map<string, KeyState>()
  /** Stands for the holder of a key. The key table only tests whether a key has a holder. */
  readonly #holder = {} as never

  /** Brings the key into use, so that a later walk must visit the key. */
  use(key: string): void {
    if (this.states.has(key)) return
    const keyState = this.table.getOrCreate(key)
    // A key in use must have a holder.
    keyState.first = this.#holder
    this.states.set(key, keyState)
  }

  /** Ends the use of the key, so that a walk must not visit the key. */
  release(key: string): void {
    const keyState = this.states.get(key)
    if (keyState === undefined) return
    keyState.first = undefined
    this.states.delete(key)
    this.table.markIdle(keyState)
  }
}

function namesOf(keyStates: Iterable<KeyState>): string[] {
  return [...keyStates].map(({ key }) => key)
}

describe('table: a walk over the keys', () => {
  it('visits all keys in use in the order in which they came into use', () => {
    const keysInUse = new KeysInUse()
    for (const key of ['b', 'a', 'c']) keysInUse.use(key)
    const walk = keysInUse.table.walk()
    expect([walk.next(), walk.next(), walk.next()].map((keyState) => keyState?.key)).to.deep.equal([
      'b',
      'a',
      'c',
    ])
    expect(walk.next()).to.equal(undefined)
  })

  it('marks its place in the list of keys until its end, and the mark is neither listed nor counted', () => {
    const keysInUse = new KeysInUse()
    for (const key of ['a', 'b']) keysInUse.use(key)
    const walks = [keysInUse.table.walk(), keysInUse.table.walk()]
    walks[0]!.next()
    expect(keysInUse.table.size).to.equal(2)
    expect(namesOf(keysInUse.table.values())).to.deep.equal(['a', 'b'])
    for (const walk of walks) walk.end()
    // A second end has no effect.
    walks[0]!.end()
    expect(keysInUse.table.size).to.equal(2)
    keysInUse.release('a')
    keysInUse.release('b')
    expect(namesOf(keysInUse.table.values())).to.deep.equal([])
  })

  it('visits exactly the keys that stay in use from its beginning until their visit', () => {
    const action = fc.record({
      // `step` is more frequent than each other kind, so that the walks also visit the later keys.
      kind: fc.constantFrom('use', 'release', 'begin', 'step', 'step', 'step', 'end'),
      key: fc.constantFrom(...'abcdefgh'),
      // The index of one of three walks.
      walk: fc.nat(2),
    })
    fc.assert(
      fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
        const keysInUse = new KeysInUse()
        const walks: (CheckedWalk | undefined)[] = []
        for (const { kind, key, walk: index } of actions) {
          const walk = walks[index]
          if (kind === 'use') keysInUse.use(key)
          else if (kind === 'release') {
            keysInUse.release(key)
            for (const anyWalk of walks) anyWalk?.mustNotVisit(key)
          } else if (kind === 'begin') {
            walk?.end()
            walks[index] = new CheckedWalk(keysInUse)
          } else if (kind === 'step') walk?.step()
          else walk?.end()
          expect(namesOf(keysInUse.table.values())).to.have.members([...keysInUse.states.keys()])
          expect(keysInUse.table.size).to.equal(keysInUse.states.size)
        }
        for (const walk of walks) walk?.finish()
      }),
    )
  })
})

/** A walk, with the keys that the walk must still visit. */
class CheckedWalk {
  readonly walk
  readonly #unvisited: Set<string>
  readonly #keysInUse: KeysInUse
  #isOver = false

  constructor(keysInUse: KeysInUse) {
    this.#keysInUse = keysInUse
    this.walk = keysInUse.table.walk()
    this.#unvisited = new Set(keysInUse.states.keys())
  }

  /** Call when a key is released. The walk must not visit the key, even if it is used again. */
  mustNotVisit(key: string): void {
    this.#unvisited.delete(key)
  }

  /** Abandons the walk. */
  end(): void {
    this.walk.end()
    this.#isOver = true
    this.#unvisited.clear()
  }

  /** Checks for each key whether the walk is yet to visit the key. Then does one step. */
  step(): KeyState | undefined {
    for (const [key, keyState] of this.#keysInUse.states) {
      if (!this.#isOver)
        expect(this.walk.isYetToVisit(keyState), key).to.equal(this.#unvisited.has(key))
    }
    const keyState = this.walk.next()
    if (keyState === undefined) this.#isOver = true
    else
      expect(
        this.#unvisited.delete(keyState.key),
        `the walk was yet to visit ${keyState.key}`,
      ).to.equal(true)
    return keyState
  }

  /** Does all remaining steps, and checks that the walk visited every key that stayed in use. */
  finish(): void {
    while (this.step() !== undefined);
    expect([...this.#unvisited]).to.deep.equal([])
  }
}
