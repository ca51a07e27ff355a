/**
 * Who lives, by the entries of a replicated log: which of them count, and who takes over from whom.
 */
import { type Entry, Roll } from '@holdfast/server/internal'
import { expect } from 'chai'
import { raise } from './logSuite.js'

type Obituaries = readonly { readonly broker: string; readonly last: number }[]

const join = (broker: string, replaces?: string): Entry => ({
  ...{ broker, n: 1, at: 7 },
  join: { replaces },
})
const leave = (broker: string, n: number): Entry => ({ broker, n, at: 7, leave: true })
const speech = (broker: string, n: number, dead: Obituaries = []): Entry => ({
  ...{ broker, n, at: 7 },
  ...{ commands: [raise(n)], notices: { dead } },
})

/** A roll on which these have joined. */
function rollOf(...brokers: string[]): Roll {
  const roll = new Roll()
  for (const broker of brokers) roll.take(join(broker))
  return roll
}

const restart = (from: string, home: string) => ({ type: 'restart', from, home, at: 7 })

describe('roll: which entries count', () => {
  it('those that are the next of somebody who has joined', () => {
    const roll = rollOf('a')
    expect(roll.take(speech('a', 2))).to.deep.equal([raise(2)])
    expect(roll.take(speech('a', 3))).to.deep.equal([raise(3)])
    expect(roll.count).to.equal(3)
  })

  it('none twice, and none that is late', () => {
    const roll = rollOf('a')
    roll.take(speech('a', 2))
    roll.take(speech('a', 3))
    for (const n of [1, 2, 3]) expect(roll.take(speech('a', n)), `${n}`).to.equal(undefined)
    expect(roll.take(join('a'))).to.equal(undefined)
    expect(roll.count).to.equal(3)
  })

  it('none that comes before its time', () => {
    expect(rollOf('a').take(speech('a', 3))).to.equal(undefined)
  })

  it('none of somebody who has not joined', () => {
    const roll = rollOf('a')
    expect(roll.take(speech('b', 1))).to.equal(undefined)
    expect(roll.take(speech('b', 2))).to.equal(undefined)
    expect([...roll.living.keys()]).to.deep.equal(['a'])
  })

  it('none of somebody who is dead, whatever it is', () => {
    const roll = rollOf('a', 'b')
    roll.take(speech('a', 2, [{ broker: 'b', last: 1 }]))
    for (const entry of [speech('b', 2), join('b'), leave('b', 2)]) {
      expect(roll.take(entry)).to.equal(undefined)
    }
  })

  it('the dead are remembered for a thousand others, over snapshots too', () => {
    const roll = rollOf('a', 'late')
    roll.take(speech('a', 2, [{ broker: 'late', last: 1 }]))
    for (let i = 0; i < 999; i++) {
      roll.take(join(`b${i}`))
      roll.take(speech('a', 3 + i, [{ broker: `b${i}`, last: 1 }]))
    }
    expect(roll.state.dead.length).to.equal(1_000)
    const copy = new Roll(roll.state)
    expect(copy.take(join('late'))).to.equal(undefined)
    expect(copy.state).to.deep.equal(roll.state)
    roll.take(join('more'))
    roll.take(speech('a', 1_002, [{ broker: 'more', last: 1 }]))
    expect(roll.state.dead.length).to.equal(1_000)
    expect(roll.state.dead).not.to.include('late')
  })
})

describe('roll: who takes over', () => {
  it('whoever notices first that somebody is silent', () => {
    const roll = rollOf('a', 'b', 'c')
    expect(roll.take(speech('b', 2, [{ broker: 'c', last: 1 }]))).to.deep.equal([
      restart('c', 'b'),
      raise(2),
    ])
    expect(roll.take(speech('a', 2, [{ broker: 'c', last: 1 }]))).to.deep.equal([raise(2)])
    expect([...roll.living.keys()]).to.deep.equal(['a', 'b'])
  })

  it('nobody, if it has said something meanwhile', () => {
    const roll = rollOf('a', 'b')
    roll.take(speech('b', 2))
    expect(roll.take(speech('a', 2, [{ broker: 'b', last: 1 }]))).to.deep.equal([raise(2)])
    expect(roll.take(speech('b', 3))).to.deep.equal([raise(3)])
  })

  it('nobody takes over from itself', () => {
    const roll = rollOf('a')
    expect(roll.take(speech('a', 2, [{ broker: 'a', last: 2 }]))).to.deep.equal([raise(2)])
    expect([...roll.living.keys()]).to.deep.equal(['a'])
  })

  it('a new incarnation from its former one', () => {
    const roll = rollOf('a', 'b')
    expect(roll.take(join('a2', 'a'))).to.deep.equal([restart('a', 'a2')])
    expect([...roll.living.keys()]).to.deep.equal(['b', 'a2'])
    expect(roll.take(speech('a', 2))).to.equal(undefined)
  })

  it('nobody, where the former incarnation is dead already or was never here', () => {
    const roll = rollOf('a', 'b')
    roll.take(speech('b', 2, [{ broker: 'a', last: 1 }]))
    expect(roll.take(join('a2', 'a'))).to.deep.equal([])
    expect(roll.take(join('c2', 'c'))).to.deep.equal([])
    expect(roll.take(join('d', 'd'))).to.deep.equal([])
    expect([...roll.living.keys()]).to.deep.equal(['b', 'a2', 'c2', 'd'])
  })

  it('nobody from an incarnation that was replaced before its own join came in', () => {
    const roll = rollOf('a', 'b')
    // b2 was given up before anybody had heard of it; what it wanted to take over, it does not.
    expect(roll.take(join('b3', 'b2'))).to.deep.equal([])
    expect(roll.take(join('b2', 'b'))).to.equal(undefined)
    expect(roll.take(speech('b2', 2))).to.equal(undefined)
    expect([...roll.living.keys()]).to.deep.equal(['a', 'b', 'b3'])
    expect(new Roll(roll.state).take(join('b2', 'b'))).to.equal(undefined)
  })

  it('the one that has been here longest, from whoever says goodbye', () => {
    const roll = rollOf('a', 'b', 'c')
    expect(roll.take(leave('b', 2))).to.deep.equal([restart('b', 'a')])
    expect(roll.take(leave('a', 2))).to.deep.equal([restart('a', 'c')])
    expect(roll.first).to.equal('c')
  })

  it('nobody from the last one: whoever comes next finds it silent', () => {
    const roll = rollOf('a')
    expect(roll.take(leave('a', 2))).to.deep.equal([])
    roll.take(join('b'))
    expect(roll.take(speech('b', 2, [{ broker: 'a', last: 2 }]))).to.deep.equal([
      restart('a', 'b'),
      raise(2),
    ])
  })
})
