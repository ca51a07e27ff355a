/**
 * Tests the member list of a replicated log (a command log that several brokers share). The list
 * decides which entries are valid, and which broker takes over the sessions of a dead broker. Each
 * entry has the name of its broker and a number `n`, which rises by 1 with each entry of the
 * broker. A broker that joins again is a new incarnation with a new name.
 */
import { type LogEntry, MemberList } from '@holdfast/server/internal'
import { expect } from 'chai'
import { fenceFloorCommand } from './logSuite.js'

/**
 * Notices of dead brokers. `last` is the number of the last entry of the dead broker that the
 * sender of the notice has read.
 */
type DeathNotices = readonly { readonly broker: string; readonly last: number }[]

/** The time of every entry. Its value does not matter. */
const at = 7
/** The first entry of a broker. `replaces` is the former incarnation of the broker. */
const join = (broker: string, replaces?: string): LogEntry => ({
  broker,
  n: 1,
  at,
  join: { replaces },
})
/** The last entry of a broker. */
const leave = (broker: string, n: number): LogEntry => ({ broker, n, at, leave: true })
/** An entry with one command, and with notices of dead brokers. */
const commandsEntry = (broker: string, n: number, dead: DeathNotices = []): LogEntry => ({
  broker,
  n,
  at,
  commands: [fenceFloorCommand(n)],
  notices: { dead },
})

/** A member list that these brokers have joined. */
function memberListOf(...brokers: string[]): MemberList {
  const members = new MemberList()
  for (const broker of brokers) members.applyEntry(join(broker))
  return members
}

/** The command that passes the sessions of one broker to another broker. */
const restart = (formerOwner: string, ownerBroker: string) => ({
  type: 'restart',
  formerOwner,
  ownerBroker,
  at,
})

describe('member list: an entry', () => {
  it('is valid as the next entry of a member', () => {
    const members = memberListOf('a')
    expect(members.applyEntry(commandsEntry('a', 2))).to.deep.equal([fenceFloorCommand(2)])
    expect(members.applyEntry(commandsEntry('a', 3))).to.deep.equal([fenceFloorCommand(3)])
    expect(members.entryCount).to.equal(3)
  })

  it('is invalid as a duplicate or as an older entry', () => {
    const members = memberListOf('a')
    members.applyEntry(commandsEntry('a', 2))
    members.applyEntry(commandsEntry('a', 3))
    for (const n of [1, 2, 3])
      expect(members.applyEntry(commandsEntry('a', n)), `${n}`).to.equal(undefined)
    expect(members.applyEntry(join('a'))).to.equal(undefined)
    expect(members.entryCount).to.equal(3)
  })

  it('is invalid if an earlier entry of the member is missing', () => {
    expect(memberListOf('a').applyEntry(commandsEntry('a', 3))).to.equal(undefined)
  })

  it('is invalid before a join of its broker', () => {
    const members = memberListOf('a')
    expect(members.applyEntry(commandsEntry('b', 1))).to.equal(undefined)
    expect(members.applyEntry(commandsEntry('b', 2))).to.equal(undefined)
    expect([...members.live.keys()]).to.deep.equal(['a'])
  })

  it('is invalid if its broker is dead', () => {
    const members = memberListOf('a', 'b')
    members.applyEntry(commandsEntry('a', 2, [{ broker: 'b', last: 1 }]))
    for (const entry of [commandsEntry('b', 2), join('b'), leave('b', 2)]) {
      expect(members.applyEntry(entry)).to.equal(undefined)
    }
  })

  // A member list keeps the names of the last 1,000 dead brokers.
  it('of a dead broker stays invalid until 1,000 other brokers have died, also in a restored list', () => {
    const members = memberListOf('a', 'late')
    // Broker `late` dies first, and then 999 other brokers die.
    members.applyEntry(commandsEntry('a', 2, [{ broker: 'late', last: 1 }]))
    for (let i = 0; i < 999; i++) {
      members.applyEntry(join(`b${i}`))
      members.applyEntry(commandsEntry('a', 3 + i, [{ broker: `b${i}`, last: 1 }]))
    }
    expect(members.state.dead.length).to.equal(1_000)
    const copy = new MemberList(members.state)
    expect(copy.applyEntry(join('late'))).to.equal(undefined)
    expect(copy.state).to.deep.equal(members.state)
    // One more death makes the list forget `late`. Broker `a` has sent 1,001 entries so far.
    members.applyEntry(join('more'))
    members.applyEntry(commandsEntry('a', 1_002, [{ broker: 'more', last: 1 }]))
    expect(members.state.dead.length).to.equal(1_000)
    expect(members.state.dead).not.to.include('late')
  })
})

describe('member list: a missing entry', () => {
  it('is found before an entry whose number is more than 1 above the last number of its broker', () => {
    const members = memberListOf('a')
    expect(members.missingBefore(commandsEntry('a', 2))).to.equal(undefined)
    for (const n of [3, 4]) {
      const missing = { broker: 'a', n: 2 }
      expect(members.missingBefore(commandsEntry('a', n)), `${n}`).to.deep.equal(missing)
      expect(members.missingBefore(leave('a', n)), `${n}`).to.deep.equal(missing)
    }
  })

  it('is found before an entry of a broker whose join is missing', () => {
    const missing = memberListOf('a').missingBefore(commandsEntry('b', 2))
    expect(missing).to.deep.equal({ broker: 'b', n: 1 })
  })

  it('is found before a death notice if the last entry of the dead broker has not arrived', () => {
    const members = memberListOf('a', 'b', 'c')
    members.applyEntry(commandsEntry('b', 2))
    const notice = (last: number) => commandsEntry('a', 2, [{ broker: 'b', last }])
    for (const last of [1, 2]) expect(members.missingBefore(notice(last))).to.equal(undefined)
    expect(members.missingBefore(notice(3))).to.deep.equal({ broker: 'b', n: 3 })
    // When the notice has made `b` dead, a duplicate of the notice shows no missing entry.
    members.applyEntry(commandsEntry('b', 3))
    members.applyEntry(notice(3))
    expect(members.missingBefore(notice(3))).to.equal(undefined)
  })

  it('is not found before the next entry, a duplicate, or the first entry of a broker', () => {
    const members = memberListOf('a')
    members.applyEntry(commandsEntry('a', 2))
    for (const entry of [
      commandsEntry('a', 3),
      commandsEntry('a', 2),
      commandsEntry('a', 1),
      join('a'),
      join('b'),
      join('c', 'a'),
      commandsEntry('b', 1),
    ]) {
      expect(members.missingBefore(entry)).to.equal(undefined)
    }
  })

  it('is not found before an entry of a dead broker', () => {
    const members = memberListOf('a', 'b')
    members.applyEntry(commandsEntry('a', 2, [{ broker: 'b', last: 1 }]))
    for (const n of [1, 2, 3, 9]) {
      expect(members.missingBefore(commandsEntry('b', n)), `${n}`).to.equal(undefined)
    }
    // The join of c3 replaces c2, so c2 is dead although it never joined.
    members.applyEntry(join('c3', 'c2'))
    expect(members.missingBefore(commandsEntry('c2', 4))).to.equal(undefined)
  })
})

describe('member list: the sessions of a dead member', () => {
  it('pass to the member that first declares the death', () => {
    const members = memberListOf('a', 'b', 'c')
    expect(members.applyEntry(commandsEntry('b', 2, [{ broker: 'c', last: 1 }]))).to.deep.equal([
      restart('c', 'b'),
      fenceFloorCommand(2),
    ])
    expect(members.applyEntry(commandsEntry('a', 2, [{ broker: 'c', last: 1 }]))).to.deep.equal([
      fenceFloorCommand(2),
    ])
    expect([...members.live.keys()]).to.deep.equal(['a', 'b'])
  })

  it('stay at a member if the notice of its death does not name its newest entry', () => {
    const members = memberListOf('a', 'b')
    members.applyEntry(commandsEntry('b', 2))
    expect(members.applyEntry(commandsEntry('a', 2, [{ broker: 'b', last: 1 }]))).to.deep.equal([
      fenceFloorCommand(2),
    ])
    expect(members.applyEntry(commandsEntry('b', 3))).to.deep.equal([fenceFloorCommand(3)])
  })

  it('stay at a member that declares its own death', () => {
    const members = memberListOf('a')
    expect(members.applyEntry(commandsEntry('a', 2, [{ broker: 'a', last: 2 }]))).to.deep.equal([
      fenceFloorCommand(2),
    ])
    expect([...members.live.keys()]).to.deep.equal(['a'])
  })

  it('pass from a former incarnation to the new incarnation', () => {
    const members = memberListOf('a', 'b')
    expect(members.applyEntry(join('a2', 'a'))).to.deep.equal([restart('a', 'a2')])
    expect([...members.live.keys()]).to.deep.equal(['b', 'a2'])
    expect(members.applyEntry(commandsEntry('a', 2))).to.equal(undefined)
  })

  it('do not pass if the former incarnation is dead already or never joined', () => {
    const members = memberListOf('a', 'b')
    members.applyEntry(commandsEntry('b', 2, [{ broker: 'a', last: 1 }]))
    expect(members.applyEntry(join('a2', 'a'))).to.deep.equal([])
    expect(members.applyEntry(join('c2', 'c'))).to.deep.equal([])
    // Broker `d` names itself as its former incarnation.
    expect(members.applyEntry(join('d', 'd'))).to.deep.equal([])
    expect([...members.live.keys()]).to.deep.equal(['b', 'a2', 'c2', 'd'])
  })

  it('do not pass to an incarnation that was replaced before its join arrived', () => {
    const members = memberListOf('a', 'b')
    // The join of b3 replaces b2, so a later join of b2 must not take over the sessions of b.
    expect(members.applyEntry(join('b3', 'b2'))).to.deep.equal([])
    expect(members.applyEntry(join('b2', 'b'))).to.equal(undefined)
    expect(members.applyEntry(commandsEntry('b2', 2))).to.equal(undefined)
    expect([...members.live.keys()]).to.deep.equal(['a', 'b', 'b3'])
    expect(new MemberList(members.state).applyEntry(join('b2', 'b'))).to.equal(undefined)
  })

  it('pass to the oldest member when a member leaves', () => {
    const members = memberListOf('a', 'b', 'c')
    expect(members.applyEntry(leave('b', 2))).to.deep.equal([restart('b', 'a')])
    expect(members.applyEntry(leave('a', 2))).to.deep.equal([restart('a', 'c')])
    expect(members.oldest).to.equal('c')
  })

  it('pass by a death notice of a later member if the only member has left', () => {
    const members = memberListOf('a')
    expect(members.applyEntry(leave('a', 2))).to.deep.equal([])
    members.applyEntry(join('b'))
    expect(members.applyEntry(commandsEntry('b', 2, [{ broker: 'a', last: 2 }]))).to.deep.equal([
      restart('a', 'b'),
      fenceFloorCommand(2),
    ])
  })
})
