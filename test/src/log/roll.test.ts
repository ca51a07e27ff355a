/**
 * Who lives, by the entries of a replicated log: which of them count, and who takes over from whom.
 */
import { type LogEntry, MemberList } from '@holdfast/server/internal'
import { expect } from 'chai'
import { raise } from './logSuite.js'

type Obituaries = readonly { readonly broker: string; readonly last: number }[]

const join = (broker: string, replaces?: string): LogEntry => ({
  ...{ broker, n: 1, at: 7 },
  join: { replaces },
})
const leave = (broker: string, n: number): LogEntry => ({ broker, n, at: 7, leave: true })
const speech = (broker: string, n: number, dead: Obituaries = []): LogEntry => ({
  ...{ broker, n, at: 7 },
  ...{ commands: [raise(n)], notices: { dead } },
})

/** A roll on which these have joined. */
function rollOf(...brokers: string[]): MemberList {
  const roll = new MemberList()
  for (const broker of brokers) roll.applyEntry(join(broker))
  return roll
}

const restart = (formerOwner: string, ownerBroker: string) => ({
  ...{ type: 'restart', formerOwner, ownerBroker, at: 7 },
})

describe('roll: which entries count', () => {
  it('those that are the next of somebody who has joined', () => {
    const roll = rollOf('a')
    expect(roll.applyEntry(speech('a', 2))).to.deep.equal([raise(2)])
    expect(roll.applyEntry(speech('a', 3))).to.deep.equal([raise(3)])
    expect(roll.count).to.equal(3)
  })

  it('none twice, and none that is late', () => {
    const roll = rollOf('a')
    roll.applyEntry(speech('a', 2))
    roll.applyEntry(speech('a', 3))
    for (const n of [1, 2, 3]) expect(roll.applyEntry(speech('a', n)), `${n}`).to.equal(undefined)
    expect(roll.applyEntry(join('a'))).to.equal(undefined)
    expect(roll.count).to.equal(3)
  })

  it('none that comes before its time', () => {
    expect(rollOf('a').applyEntry(speech('a', 3))).to.equal(undefined)
  })

  it('none of somebody who has not joined', () => {
    const roll = rollOf('a')
    expect(roll.applyEntry(speech('b', 1))).to.equal(undefined)
    expect(roll.applyEntry(speech('b', 2))).to.equal(undefined)
    expect([...roll.live.keys()]).to.deep.equal(['a'])
  })

  it('none of somebody who is dead, whatever it is', () => {
    const roll = rollOf('a', 'b')
    roll.applyEntry(speech('a', 2, [{ broker: 'b', last: 1 }]))
    for (const entry of [speech('b', 2), join('b'), leave('b', 2)]) {
      expect(roll.applyEntry(entry)).to.equal(undefined)
    }
  })

  it('the dead are remembered for a thousand others, over snapshots too', () => {
    const roll = rollOf('a', 'late')
    roll.applyEntry(speech('a', 2, [{ broker: 'late', last: 1 }]))
    for (let i = 0; i < 999; i++) {
      roll.applyEntry(join(`b${i}`))
      roll.applyEntry(speech('a', 3 + i, [{ broker: `b${i}`, last: 1 }]))
    }
    expect(roll.state.dead.length).to.equal(1_000)
    const copy = new MemberList(roll.state)
    expect(copy.applyEntry(join('late'))).to.equal(undefined)
    expect(copy.state).to.deep.equal(roll.state)
    roll.applyEntry(join('more'))
    roll.applyEntry(speech('a', 1_002, [{ broker: 'more', last: 1 }]))
    expect(roll.state.dead.length).to.equal(1_000)
    expect(roll.state.dead).not.to.include('late')
  })
})

describe('roll: who takes over', () => {
  it('whoever notices first that somebody is silent', () => {
    const roll = rollOf('a', 'b', 'c')
    expect(roll.applyEntry(speech('b', 2, [{ broker: 'c', last: 1 }]))).to.deep.equal([
      restart('c', 'b'),
      raise(2),
    ])
    expect(roll.applyEntry(speech('a', 2, [{ broker: 'c', last: 1 }]))).to.deep.equal([raise(2)])
    expect([...roll.live.keys()]).to.deep.equal(['a', 'b'])
  })

  it('nobody, if it has said something meanwhile', () => {
    const roll = rollOf('a', 'b')
    roll.applyEntry(speech('b', 2))
    expect(roll.applyEntry(speech('a', 2, [{ broker: 'b', last: 1 }]))).to.deep.equal([raise(2)])
    expect(roll.applyEntry(speech('b', 3))).to.deep.equal([raise(3)])
  })

  it('nobody takes over from itself', () => {
    const roll = rollOf('a')
    expect(roll.applyEntry(speech('a', 2, [{ broker: 'a', last: 2 }]))).to.deep.equal([raise(2)])
    expect([...roll.live.keys()]).to.deep.equal(['a'])
  })

  it('a new incarnation from its former one', () => {
    const roll = rollOf('a', 'b')
    expect(roll.applyEntry(join('a2', 'a'))).to.deep.equal([restart('a', 'a2')])
    expect([...roll.live.keys()]).to.deep.equal(['b', 'a2'])
    expect(roll.applyEntry(speech('a', 2))).to.equal(undefined)
  })

  it('nobody, where the former incarnation is dead already or was never here', () => {
    const roll = rollOf('a', 'b')
    roll.applyEntry(speech('b', 2, [{ broker: 'a', last: 1 }]))
    expect(roll.applyEntry(join('a2', 'a'))).to.deep.equal([])
    expect(roll.applyEntry(join('c2', 'c'))).to.deep.equal([])
    expect(roll.applyEntry(join('d', 'd'))).to.deep.equal([])
    expect([...roll.live.keys()]).to.deep.equal(['b', 'a2', 'c2', 'd'])
  })

  it('nobody from an incarnation that was replaced before its own join came in', () => {
    const roll = rollOf('a', 'b')
    // b2 was given up before anybody had heard of it; what it wanted to take over, it does not.
    expect(roll.applyEntry(join('b3', 'b2'))).to.deep.equal([])
    expect(roll.applyEntry(join('b2', 'b'))).to.equal(undefined)
    expect(roll.applyEntry(speech('b2', 2))).to.equal(undefined)
    expect([...roll.live.keys()]).to.deep.equal(['a', 'b', 'b3'])
    expect(new MemberList(roll.state).applyEntry(join('b2', 'b'))).to.equal(undefined)
  })

  it('the one that has been here longest, from whoever says goodbye', () => {
    const roll = rollOf('a', 'b', 'c')
    expect(roll.applyEntry(leave('b', 2))).to.deep.equal([restart('b', 'a')])
    expect(roll.applyEntry(leave('a', 2))).to.deep.equal([restart('a', 'c')])
    expect(roll.oldest).to.equal('c')
  })

  it('nobody from the last one: whoever comes next finds it silent', () => {
    const roll = rollOf('a')
    expect(roll.applyEntry(leave('a', 2))).to.deep.equal([])
    roll.applyEntry(join('b'))
    expect(roll.applyEntry(speech('b', 2, [{ broker: 'a', last: 2 }]))).to.deep.equal([
      restart('a', 'b'),
      raise(2),
    ])
  })
})
