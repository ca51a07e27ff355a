/**
 * Tests `DeadlineHeap`, which keeps deadlines in the order of their times. A deadline belongs to a
 * subject (any object), and each subject has at most one. The tests compare the heap with a list.
 */
import { DeadlineHeap } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'

/** The model of the heap: a list of deadlines in the order in which they were set. */
class DeadlineList {
  #list: { subject: number; at: number }[] = []

  get size(): number {
    return this.#list.length
  }

  /** The earliest deadline; infinity if the list is empty. */
  get next(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...this.#list.map(({ at }) => at))
  }

  /** The time of the deadline of this subject; undefined without a deadline. */
  dueAt(subject: number): number | undefined {
    return this.#list.find((deadline) => deadline.subject === subject)?.at
  }

  set(subject: number, at: number): void {
    this.delete(subject)
    this.#list.push({ subject, at })
  }

  delete(subject: number): boolean {
    const sizeBefore = this.size
    this.#list = this.#list.filter((deadline) => deadline.subject !== subject)
    return this.size < sizeBefore
  }

  /** Removes and returns the subject with the earliest deadline, if that deadline has passed. */
  popDue(now: number): number | undefined {
    const first = this.#list.find(({ at }) => at === this.next)
    if (first === undefined || first.at > now) return undefined
    this.delete(first.subject)
    return first.subject
  }
}

interface Subject {
  readonly name: number
}

// The subjects and times are few, so that random operations often choose the same subject or time.
const subjects: readonly Subject[] = Array.from({ length: 31 }, (_, name) => ({ name }))
/** Chooses a subject by its name, which is also its index. */
const subject = fc.nat(subjects.length - 1)
const at = fc.nat(40)
// `forget` deletes the deadline. Unlike `delete`, `forget` also frees the memory in which the
// subject would store its next deadline.
const operation = fc.oneof(
  { arbitrary: fc.record({ do: fc.constant('set' as const), subject, at }), weight: 5 },
  { arbitrary: fc.record({ do: fc.constant('delete' as const), subject }), weight: 2 },
  { arbitrary: fc.record({ do: fc.constant('forget' as const), subject }), weight: 1 },
  { arbitrary: fc.record({ do: fc.constant('pop' as const), at }), weight: 2 },
)

describe('shared: DeadlineHeap', () => {
  it('does not share the deadline of a subject with another heap', () => {
    const [heap, otherHeap] = [new DeadlineHeap<Subject>(), new DeadlineHeap<Subject>()]
    const [a] = subjects as [Subject]
    heap.set(a, 10)
    expect(otherHeap.dueAt(a)).to.equal(undefined)
    expect(otherHeap.delete(a)).to.equal(false)
    otherHeap.set(a, 20)
    expect(heap.popDue(15)).to.equal(a)
    expect(otherHeap.popDue(15)).to.equal(undefined)
    expect(otherHeap.dueAt(a)).to.equal(20)
  })

  it('behaves like a simple list under random operations', () => {
    const operations = fc.array(operation, { maxLength: 300, size: 'max' })
    const property = fc.property(operations, (list) => {
      const deadlines = new DeadlineHeap<Subject>()
      const model = new DeadlineList()
      for (const step of list) {
        if (step.do === 'set') {
          deadlines.set(subjects[step.subject]!, step.at)
          model.set(step.subject, step.at)
        } else if (step.do === 'delete') {
          expect(deadlines.delete(subjects[step.subject]!)).to.equal(model.delete(step.subject))
        } else if (step.do === 'forget') {
          deadlines.forget(subjects[step.subject]!)
          model.delete(step.subject)
        } else {
          expect(deadlines.popDue(step.at)?.name).to.equal(model.popDue(step.at))
        }
        expect(deadlines.size).to.equal(model.size)
        expect(deadlines.next).to.equal(model.next)
        for (const each of subjects) {
          expect(deadlines.dueAt(each)).to.equal(model.dueAt(each.name))
        }
      }
      const end = Number.POSITIVE_INFINITY
      // Pops each remaining deadline. The last call finds no deadline.
      for (let left = model.size; left >= 0; left--) {
        expect(deadlines.popDue(end)?.name).to.equal(model.popDue(end))
      }
    })
    fc.assert(property, quickOrFullRuns(15, 300))
  })

  it('returns subjects with equal deadlines in the order of their last call of `set`', () => {
    const deadlines = new DeadlineHeap<Subject>()
    const [a, b, c, d] = subjects as [Subject, Subject, Subject, Subject]
    for (const each of [a, b, c, d]) deadlines.set(each, 10)
    deadlines.set(a, 20)
    deadlines.set(a, 10)
    const popped: (Subject | undefined)[] = []
    for (let i = 0; i < 5; i++) popped.push(deadlines.popDue(10))
    expect(popped).to.have.ordered.members([b, c, d, a, undefined])
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
    const subjectCount = 20_000
    const crowd = Array.from({ length: subjectCount }, (_, name): Subject => ({ name }))
    // The prime 7,919 does not divide the count. So each number below the count is the deadline of
    // exactly one subject, and the order is mixed.
    for (const each of crowd) deadlines.set(each, (each.name * 7_919) % subjectCount)
    // Deletes the deadlines of half of the subjects, also in mixed order.
    for (let i = 0; i < subjectCount; i += 2) {
      expect(deadlines.delete(crowd[(i * 7_919) % subjectCount]!)).to.equal(true)
    }
    // All times are below `subjectCount`, so this time makes every deadline due.
    const end = subjectCount
    let lastTime = -1
    let poppedCount = 0
    for (;;) {
      const next = deadlines.next
      if (deadlines.popDue(end) === undefined) break
      expect(next).to.be.greaterThan(lastTime)
      lastTime = next
      poppedCount++
    }
    expect(poppedCount).to.equal(subjectCount / 2)
    expect(deadlines.size).to.equal(0)
  })
})
