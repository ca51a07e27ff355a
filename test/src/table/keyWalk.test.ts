/**
 * A walk visits the keys in use, and pauses while keys come into use and become idle. The walk
 * visits each key once if the key stays in use from the beginning of the walk until the visit.
 */
import { type KeyState, KeyTable } from '@holdfast/server/core'
import { expect } from 'chai'
import fc from 'fast-check'

/** A key table, and the keys that the test has brought into use and has not released. */
class KeysInUse {
  readonly keys = new KeyTable()
  readonly inUse = new Map<string, KeyState>()
  /** Stands for the first holder of a key. The key table only tests whether a key has a holder. */
  readonly #lock = {} as never

  /** Brings the key into use, so that a later walk must visit the key. */
  use(key: string): void {
    if (this.inUse.has(key)) return
    const keyState = this.keys.getOrCreate(key)
    // A key in use must have a holder.
    keyState.first = this.#lock
    this.inUse.set(key, keyState)
  }

  /** Ends the use of the key, so that a walk must not visit the key. */
  release(key: string): void {
    const keyState = this.inUse.get(key)
    if (keyState === undefined) return
    keyState.first = undefined
    this.inUse.delete(key)
    this.keys.markIdle(keyState)
  }
}

function namesOf(keyStates: Iterable<KeyState>): string[] {
  return [...keyStates].map(({ key }) => key)
}

describe('table: a walk over the keys', () => {
  it('visits all keys in use in the order in which they came into use', () => {
    const keysInUse = new KeysInUse()
    for (const key of ['b', 'a', 'c']) keysInUse.use(key)
    const walk = keysInUse.keys.walk()
    expect([walk.next(), walk.next(), walk.next()].map((keyState) => keyState?.key)).to.deep.equal([
      'b',
      'a',
      'c',
    ])
    expect(walk.next()).to.equal(undefined)
  })

  it('is neither listed nor counted among the keys, and its end leaves nothing behind', () => {
    const keysInUse = new KeysInUse()
    for (const key of ['a', 'b']) keysInUse.use(key)
    const walks = [keysInUse.keys.walk(), keysInUse.keys.walk()]
    walks[0]!.next()
    expect(keysInUse.keys.size).to.equal(2)
    expect(namesOf(keysInUse.keys.values())).to.deep.equal(['a', 'b'])
    for (const walk of walks) walk.end()
    // A second end has no effect.
    walks[0]!.end()
    expect(keysInUse.keys.size).to.equal(2)
    keysInUse.release('a')
    keysInUse.release('b')
    expect(namesOf(keysInUse.keys.values())).to.deep.equal([])
  })

  it('visits exactly the keys that stay in use from its beginning, whatever happens between its steps', () => {
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
            for (const other of walks) other?.released(key)
          } else if (kind === 'begin') {
            walk?.end()
            walks[index] = new CheckedWalk(keysInUse)
          } else if (kind === 'step') walk?.step()
          else walk?.end()
          expect(namesOf(keysInUse.keys.values())).to.have.members([...keysInUse.inUse.keys()])
          expect(keysInUse.keys.size).to.equal(keysInUse.inUse.size)
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
    this.walk = keysInUse.keys.walk()
    this.#unvisited = new Set(keysInUse.inUse.keys())
  }

  /** The key is no longer in use, so the walk must not visit the key. */
  released(key: string): void {
    this.#unvisited.delete(key)
  }

  /** Abandons the walk. */
  end(): void {
    this.walk.end()
    this.#isOver = true
    this.#unvisited.clear()
  }

  /** Does one step of the walk. Checks first which keys the walk has not visited yet. */
  step(): KeyState | undefined {
    for (const [key, keyState] of this.#keysInUse.inUse) {
      if (!this.#isOver)
        expect(this.walk.isYetToVisit(keyState), key).to.equal(this.#unvisited.has(key))
    }
    const keyState = this.walk.next()
    if (keyState === undefined) this.#isOver = true
    else
      expect(this.#unvisited.delete(keyState.key), `${keyState.key} was still to visit`).to.equal(
        true,
      )
    return keyState
  }

  /** Does all remaining steps, and checks that the walk visited every key that stayed in use. */
  finish(): void {
    while (this.step() !== undefined);
    expect([...this.#unvisited]).to.deep.equal([])
  }
}
