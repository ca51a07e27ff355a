/**
 * Tests three brokers that share a command log in a real engine (etcd or PostgreSQL), with real
 * failures of brokers, servers and links. The command log orders the commands of all brokers. After
 * each fault, an oracle (the checks of `World`) searches for violations. No two sessions may have
 * held the same lock or led the election at the same time. Observers must have seen the right
 * leaders. Every broker must have exactly the locks that the clients hold. No client of an
 * unaffected broker may have lost a lock. At the end no lock may remain.
 *
 * Workers use locks, candidates contend for leadership, and observers watch the leader. A fence is
 * the number of a grant.
 */
import { expect } from 'chai'
import { isFullRun, Random, seed } from '../support/counts.js'
import { machineMeets, type Need, needs, skip } from '../support/needs.js'
import { runFault } from './chaos.js'
import { faultsOf } from './faults.js'
import { type EngineName, engineNames } from './store.js'
import { World } from './world.js'

/** The faults of a quick run over each engine. */
const quickRunFaults: Readonly<Record<EngineName, readonly string[]>> = {
  etcd: ['broker-killed'],
  postgres: ['postgres-failover'],
}
const needsOf: Readonly<Record<EngineName, readonly Need[]>> = {
  etcd: ['etcd', 'setpriv'],
  postgres: ['postgres', 'setpriv'],
}
/** How often each test causes its fault. */
const rounds = isFullRun ? 2 : 1

// The oracle is the same over each engine, so a quick run tests the oracle over one engine.
for (const engine of isFullRun ? engineNames : engineNames.slice(0, 1)) {
  describe(`chaos: the oracle over ${engine}`, function () {
    this.timeout(120_000)
    needs(...needsOf[engine])

    it('finds violations if each broker has a command log of its own', async () => {
      const world = await World.start(new Random(seed), {
        engine,
        withNamespaces: false,
        separateLogs: true,
      })
      try {
        // Each `untilServed` waits until each worker was granted a lock that it requested after the
        // given time. Then wait until each candidate has led five times.
        await world.untilServed(performance.now())
        await world.untilServed(performance.now())
        await world.election.waitForLeaderships(5)
        // The brokers will not agree, so the checks wait only 100 ms for them.
        const violations = await world.findViolations(100)
        expect(
          violations.filter((violation) =>
            /both held the lock|same fence|lower fence/.test(violation),
          ),
        ).not.to.be.empty
        // One violation for each broker: the broker lacks the locks of the other brokers' clients.
        expect(violations.filter((violation) => violation.startsWith('broker '))).to.have.length(3)
        // The names of candidates begin with "c", and the names of observers begin with "o".
        const ofElection = violations.filter((violation) => violation.startsWith('election: '))
        expect(ofElection.filter((violation) => /: c\d .*both held/.test(violation))).not.to.be
          .empty
        expect(ofElection.filter((violation) => /: o\d saw .*still led/.test(violation))).not.to.be
          .empty
      } finally {
        await world.close()
      }
    })
  })
}

for (const engine of engineNames) {
  describe(`chaos: three brokers over ${engine}`, function () {
    this.timeout(300_000)
    needs(...needsOf[engine])
    let world: World | undefined
    const random = new Random(seed)

    before(async () => {
      world = await World.start(random, { engine, withNamespaces: machineMeets('namespaces') })
    })

    after(() => world?.close())

    const isChosen = (name: string) => isFullRun || quickRunFaults[engine].includes(name)
    for (const fault of faultsOf(engine).filter(({ name }) => isChosen(name))) {
      it(`keep all rules after the fault ${fault.name}, and serve all clients again`, async function () {
        if (fault.isPossible?.(world!) === false) {
          skip(this, 'needs network namespaces, to cut members of etcd off from each other')
        }
        for (let round = 0; round < rounds; round++) {
          const outcome = await runFault(world!, fault, random)
          expect(outcome.violations).to.deep.equal([])
        }
      })
    }

    it('keep no lock after all clients have left', async () => {
      // A tenure is one use of a lock. With fewer tenures, the workers would hardly have contended
      // for the locks, and the earlier tests would prove nothing.
      expect(world!.tenureCount).to.be.greaterThan(20)
      expect(await world!.drain()).to.deep.equal([])
    })
  })
}
