/**
 * A walk over the keys in use that pauses while keys come and go. It visits each key once, if the
 * key stays in use from the beginning of the walk until its visit.
 */
import { type KeyState, KeyTable } from '@holdfast/server/core'
import { expect } from 'chai'
import fc from 'fast-check'

/** A key table in which a test uses and releases keys. */
class World {
  readonly keys = new KeyTable()
  readonly inUse = new Map<string, KeyState>()
  readonly #lock = {} as never

  take(key: string): void {
    if (this.inUse.has(key)) return
    const keyState = this.keys.getOrCreate(key)
    // A key in use must have a holder.
    keyState.first = this.#lock
    this.inUse.set(key, keyState)
  }

  leave(key: string): void {
    const keyState = this.inUse.get(key)
    if (keyState === undefined) return
    keyState.first = undefined
    this.inUse.delete(key)
    this.keys.markIdle(keyState)
  }
}

function names(entries: Iterable<KeyState>): string[] {
  return [...entries].map(({ key }) => key)
}

describe('table: a walk over the keys', () => {
  it('visits all keys in use in the order in which they came into use', () => {
    const world = new World()
    for (const key of ['b', 'a', 'c']) world.take(key)
    const walk = world.keys.walk()
    expect([walk.next(), walk.next(), walk.next()].map((keyState) => keyState?.key)).to.deep.equal([
      'b',
      'a',
      'c',
    ])
    expect(walk.next()).to.equal(undefined)
  })

  it('is neither listed nor counted among the keys, and leaves nothing behind', () => {
    const world = new World()
    for (const key of ['a', 'b']) world.take(key)
    const walks = [world.keys.walk(), world.keys.walk()]
    walks[0]!.next()
    expect(world.keys.size).to.equal(2)
    expect(names(world.keys.values())).to.deep.equal(['a', 'b'])
    for (const walk of walks) walk.end()
    walks[0]!.end()
    expect(world.keys.size).to.equal(2)
    world.leave('a')
    world.leave('b')
    expect(names(world.keys.values())).to.deep.equal([])
  })

  it('visits the right keys, whatever happens between its steps', () => {
    const action = fc.record({
      act: fc.constantFrom('take', 'leave', 'begin', 'step', 'step', 'step', 'end'),
      key: fc.constantFrom(...'abcdefgh'),
      walk: fc.nat(2),
    })
    fc.assert(
      fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
        const world = new World()
        const walks: (Walk | undefined)[] = []
        for (const { act, key, walk: n } of actions) {
          const walk = walks[n]
          if (act === 'take') world.take(key)
          else if (act === 'leave') {
            world.leave(key)
            for (const other of walks) other?.left(key)
          } else if (act === 'begin') {
            walk?.end()
            walks[n] = new Walk(world)
          } else if (act === 'step') walk?.step()
          else walk?.end()
          expect(names(world.keys.values())).to.have.members([...world.inUse.keys()])
          expect(world.keys.size).to.equal(world.inUse.size)
        }
        for (const walk of walks) walk?.finish()
      }),
    )
  })
})

/** A walk, with the keys that it must still visit. */
class Walk {
  readonly walk
  readonly #toCome: Set<string>
  readonly #world: World
  #isOver = false

  constructor(world: World) {
    this.#world = world
    this.walk = world.keys.walk()
    this.#toCome = new Set(world.inUse.keys())
  }

  left(key: string): void {
    this.#toCome.delete(key)
  }

  /** Abandons the walk. */
  end(): void {
    this.walk.end()
    this.#isOver = true
    this.#toCome.clear()
  }

  step(): KeyState | undefined {
    for (const [key, keyState] of this.#world.inUse) {
      if (!this.#isOver)
        expect(this.walk.isYetToVisit(keyState), key).to.equal(this.#toCome.has(key))
    }
    const keyState = this.walk.next()
    if (keyState === undefined) this.#isOver = true
    else expect(this.#toCome.delete(keyState.key), `${keyState.key} is one to visit`).to.equal(true)
    return keyState
  }

  finish(): void {
    while (this.step() !== undefined);
    expect([...this.#toCome]).to.deep.equal([])
  }
}
