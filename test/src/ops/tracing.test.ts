/**
 * Tests the spans of the client: one for the wait for a lock, and one for the hold of the lock. The
 * tests use a real SDK of OpenTelemetry that keeps the spans in memory. A fence is the number of a
 * grant.
 */
import { openTelemetry } from '@holdfast/client/opentelemetry'
import {
  type Context,
  type ContextManager,
  context,
  propagation,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import { expect } from 'chai'
import { expectRejection, Stage } from '../e2e/stage.js'

/** Keeps the active context of OpenTelemetry only until the first await, as in a browser. */
class SynchronousContexts implements ContextManager {
  #active: Context = ROOT_CONTEXT

  active(): Context {
    return this.#active
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    newContext: Context,
    callback: F,
    thisArg?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    const formerContext = this.#active
    this.#active = newContext
    try {
      return callback.call(thisArg, ...args)
    } finally {
      this.#active = formerContext
    }
  }

  bind<T>(_context: Context, target: T): T {
    return target
  }

  enable(): this {
    return this
  }

  disable(): this {
    return this
  }
}

describe('tracing', () => {
  const stage = Stage.forEachTest()
  const exporter = new InMemorySpanExporter()
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })

  before(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  })
  after(async () => {
    context.disable()
    propagation.disable()
    await provider.shutdown()
  })
  afterEach(() => exporter.reset())

  const tracer = provider.getTracer('test')
  /** The ended spans with this name. */
  const spans = (name: string): ReadableSpan[] =>
    exporter.getFinishedSpans().filter((span) => span.name === name)

  /** Connects a session with a tracer. */
  async function connectWithTracer() {
    const { url, broker } = await stage.startBroker()
    const session = await stage.openSession(url, { tracer: openTelemetry(tracer) })
    return { url, broker, session }
  }

  it('makes a span for each wait and each hold, as children of the caller’s span', async () => {
    const { session } = await connectWithTracer()
    const { fence } = await tracer.startActiveSpan('job', async (jobSpan) => {
      const lock = await session.lock('k')
      expect(spans('holdfast.hold')).to.have.length(0)
      await lock.unlock()
      jobSpan.end()
      return lock
    })
    const [job, wait, hold] = ['job', 'holdfast.wait', 'holdfast.hold'].map(
      (name) => spans(name)[0]!,
    )
    const attributes = {
      'holdfast.key': 'k',
      'holdfast.mode': 'exclusive',
      'holdfast.fence': fence,
    }
    for (const span of [wait!, hold!]) {
      expect(span.attributes).to.deep.equal(attributes)
      expect(span.parentSpanContext?.spanId).to.equal(job!.spanContext().spanId)
      // A span without an error has no status.
      expect(span.status.code).to.equal(SpanStatusCode.UNSET)
    }
  })

  it('ends the span of a failed wait with the error code', async () => {
    const { session } = await connectWithTracer()
    await session.lock('k')
    await expectRejection(session.tryLock('k'), 'LOCK_HELD')
    const failed = spans('holdfast.wait').find(({ status }) => status.code === SpanStatusCode.ERROR)
    expect(failed?.attributes).to.include({ 'holdfast.error': 'LOCK_HELD' })
  })

  it('ends the span of a lost lock with LOCK_LOST', async () => {
    const { session, url } = await connectWithTracer()
    const lock = await session.lock('k')
    const stealer = await stage.openSession(url)
    await stealer.lock('k', { steal: true })
    // The broker reports the loss before it answers this request.
    await expectRejection(lock.unlock(), 'LOCK_NOT_HELD')
    expect(spans('holdfast.hold')[0]?.attributes).to.include({ 'holdfast.error': 'LOCK_LOST' })
  })

  it('runs the callback of withLock in the context of the hold span', async () => {
    const { session } = await connectWithTracer()
    await session.withLock('k', async () => tracer.startSpan('work').end())
    const [work] = spans('work')
    const [hold] = spans('holdfast.hold')
    expect(work!.parentSpanContext?.spanId).to.equal(hold!.spanContext().spanId)
  })

  it('runs the callback of withLock with the baggage of the caller, even if the context ends at an await', async () => {
    const { session } = await connectWithTracer()
    // OpenTelemetry accepts another context manager only after `disable`.
    context.disable()
    context.setGlobalContextManager(new SynchronousContexts())
    const baggage = propagation.createBaggage({ tenant: { value: 'ann' } })
    const tenant = await context.with(propagation.setBaggage(context.active(), baggage), () =>
      session.withLock('k', () => propagation.getActiveBaggage()?.getEntry('tenant')?.value),
    )
    context.disable()
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    expect(tenant).to.equal('ann')
  })

  it('adds the context of the wait span to the metadata of the caller, unless the metadata is a text', async () => {
    const { session, broker } = await connectWithTracer()
    await session.lock('plain')
    await session.lock('own', { metadata: { job: 7 } })
    await session.lock('text', { metadata: 'mine' })
    const [withoutMetadata, withFields, text] = broker.query().held.map(({ metadata }) => metadata)
    const [wait] = spans('holdfast.wait')
    const { traceId, spanId } = wait!.spanContext()
    // A `traceparent` has a version (00), the two ids, and the flag of a recorded span (01).
    expect(withoutMetadata).to.deep.equal({ traceparent: `00-${traceId}-${spanId}-01` })
    expect(withFields).to.include({ job: 7 }).and.to.have.property('traceparent')
    expect(text).to.equal('mine')
  })

  it('makes no spans without an SDK or without a tracer', async () => {
    const { url, broker } = await stage.startBroker()
    // `openTelemetry()` uses the global SDK, so the test makes sure that there is none.
    trace.disable()
    const withoutSdk = await stage.openSession(url, { tracer: openTelemetry() })
    const withoutTracer = await stage.openSession(url)
    await withoutSdk.withLock('a', async () => {
      await withoutTracer.lock('b')
      // A tracer with an SDK would have put the trace into the metadata.
      const { held } = broker.query()
      expect(held.map(({ key, metadata }) => [key, metadata])).to.deep.equal([
        ['a', undefined],
        ['b', undefined],
      ])
    })
    expect(exporter.getFinishedSpans()).to.deep.equal([])
  })
})
