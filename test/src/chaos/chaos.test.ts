/**
 * Three brokers over a real etcd while each of them, of etcd's members and of the links between
 * them fails for real. After each fault: no two had a lock at once, everything that a client was
 * told is so at every broker, no client of a broker that nothing happened to has lost anything, and
 * at the end nothing is left.
 */
import { expect } from 'chai'
import { full, Random, seed } from '../support/counts.js'
import { has, needs, skip } from '../support/needs.js'
import { strike } from './chaos.js'
import { faults } from './faults.js'
import { World } from './world.js'

/** At a desk only these, and once. */
const few = ['etcd-leader-stopped', 'broker-killed']
const rounds = full ? 2 : 1

describe('chaos: the judge', function () {
  this.timeout(120_000)
  needs('etcd')

  it('finds out brokers that do not share a log', async () => {
    const world = await World.start(new Random(seed), false, true)
    try {
      await world.servedSince(performance.now())
      await world.servedSince(performance.now())
      const found = await world.judge(100)
      expect(found.filter((fault) => /both held it|same fence|against time/.test(fault))).not.to.be
        .empty
      expect(found.filter((fault) => fault.startsWith('broker '))).to.have.length(3)
    } finally {
      await world.close()
    }
  })
})

describe('chaos: three brokers over etcd', function () {
  this.timeout(300_000)
  needs('etcd')
  let world: World | undefined
  const random = new Random(seed)

  before(async () => {
    world = await World.start(random, has('namespaces'))
  })

  after(() => world?.close())

  for (const fault of faults.filter(({ name }) => full || few.includes(name))) {
    it(`${fault.name}: all is true and everybody is served again`, async function () {
      if (fault.isPossible?.(world!) === false) {
        skip(this, 'needs network namespaces, to cut members of etcd off from each other')
      }
      for (let round = 0; round < rounds; round++) {
        const outcome = await strike(world!, fault, random)
        expect(outcome.faults).to.deep.equal([])
      }
    })
  }

  it('drains: nothing is left when everybody has gone', async () => {
    expect(world!.tenures).to.be.greaterThan(20)
    expect(await world!.drain()).to.deep.equal([])
  })
})
