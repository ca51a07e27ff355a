/** Compares `DeadlineHeap` with a list that is searched from end to end. */
import { DeadlineHeap } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { runs } from '../support/counts.js'

/** The same as a list in the order of setting, searched for the earliest deadline each time. */
class NaiveDeadlines {
  #list: { subject: number; at: number }[] = []

  get size(): number {
    return this.#list.length
  }

  get next(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...this.#list.map((one) => one.at))
  }

  dueAt(subject: number): number | undefined {
    return this.#list.find((one) => one.subject === subject)?.at
  }

  set(subject: number, at: number): void {
    this.delete(subject)
    this.#list.push({ subject, at })
  }

  delete(subject: number): boolean {
    const before = this.size
    this.#list = this.#list.filter((one) => one.subject !== subject)
    return this.size < before
  }

  takeDue(now: number): number | undefined {
    const first = this.#list.find((one) => one.at === this.next)
    if (first === undefined || first.at > now) return undefined
    this.delete(first.subject)
    return first.subject
  }
}

interface Subject {
  readonly name: number
}

const subjects: readonly Subject[] = Array.from({ length: 31 }, (_, name) => ({ name }))
const subject = fc.nat(subjects.length - 1)
const at = fc.nat(40)
const operation = fc.oneof(
  { arbitrary: fc.record({ do: fc.constant('set' as const), subject, at }), weight: 5 },
  { arbitrary: fc.record({ do: fc.constant('delete' as const), subject }), weight: 2 },
  { arbitrary: fc.record({ do: fc.constant('take' as const), at }), weight: 2 },
)

describe('shared: DeadlineHeap', () => {
  it('keeps the deadlines of two heaps for one subject apart', () => {
    const [some, others] = [new DeadlineHeap<Subject>(), new DeadlineHeap<Subject>()]
    const [a] = subjects as [Subject]
    some.set(a, 10)
    expect(others.dueAt(a)).to.equal(undefined)
    expect(others.delete(a)).to.equal(false)
    others.set(a, 20)
    expect(some.popDue(15)).to.equal(a)
    expect(others.popDue(15)).to.equal(undefined)
    expect(others.dueAt(a)).to.equal(20)
  })

  it('behaves like a sorted list under random operations', () => {
    const operations = fc.array(operation, { maxLength: 300, size: 'max' })
    const property = fc.property(operations, (list) => {
      const deadlines = new DeadlineHeap<Subject>()
      const naive = new NaiveDeadlines()
      for (const one of list) {
        if (one.do === 'set') {
          deadlines.set(subjects[one.subject]!, one.at)
          naive.set(one.subject, one.at)
        } else if (one.do === 'delete') {
          expect(deadlines.delete(subjects[one.subject]!)).to.equal(naive.delete(one.subject))
        } else {
          expect(deadlines.popDue(one.at)?.name).to.equal(naive.takeDue(one.at))
        }
        expect(deadlines.size).to.equal(naive.size)
        expect(deadlines.next).to.equal(naive.next)
        for (const each of subjects) {
          expect(deadlines.dueAt(each)).to.equal(naive.dueAt(each.name))
        }
      }
      const end = Number.POSITIVE_INFINITY
      for (let left = naive.size; left >= 0; left--) {
        expect(deadlines.popDue(end)?.name).to.equal(naive.takeDue(end))
      }
    })
    fc.assert(property, runs(60, 300))
  })

  it('returns subjects with equal deadlines in the order of their last set', () => {
    const deadlines = new DeadlineHeap<Subject>()
    const [a, b, c, d] = subjects as [Subject, Subject, Subject, Subject]
    for (const each of [a, b, c, d]) deadlines.set(each, 10)
    deadlines.set(a, 20)
    deadlines.set(a, 10)
    const due: (Subject | undefined)[] = []
    for (let i = 0; i < 5; i++) due.push(deadlines.popDue(10))
    expect(due).to.have.ordered.members([b, c, d, a, undefined])
  })

  it('returns a subject at its deadline and not before', () => {
    const deadlines = new DeadlineHeap<Subject>()
    const [a] = subjects as [Subject]
    expect(deadlines.next).to.equal(Number.POSITIVE_INFINITY)
    deadlines.set(a, 10)
    expect(deadlines.popDue(9.999)).to.equal(undefined)
    expect(deadlines.popDue(10)).to.equal(a)
    expect(deadlines.popDue(10)).to.equal(undefined)
  })

  it('returns many subjects in order and is empty afterwards', () => {
    const deadlines = new DeadlineHeap<Subject>()
    const many = 20_000
    const crowd = Array.from({ length: many }, (_, name): Subject => ({ name }))
    // 7,919 has no common divisor with the number of times, so each time comes once, unordered.
    for (const each of crowd) deadlines.set(each, (each.name * 7_919) % many)
    for (let i = 0; i < many; i += 2) {
      expect(deadlines.delete(crowd[(i * 7_919) % many]!)).to.equal(true)
    }
    let last = -1
    let taken = 0
    for (;;) {
      const next = deadlines.next
      if (deadlines.popDue(many) === undefined) break
      expect(next).to.be.greaterThan(last)
      last = next
      taken++
    }
    expect(taken).to.equal(many / 2)
    expect(deadlines.size).to.equal(0)
  })
})
