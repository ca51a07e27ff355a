/**
 * Spans for waiting and holding, through `@opentelemetry/api` alone: without an SDK in the process
 * they are nothing and cost next to nothing. A door of its own, so that whoever does not trace does
 * not load it.
 *
 *     const session = await connect(url, { tracer: openTelemetry() })
 */

import { type HoldfastError, maxMetadataBytes, utf8Length } from '@holdfast/shared'
import {
  type Context,
  context,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer as SpanTracer,
  trace,
} from '@opentelemetry/api'
import type { HoldTrace, Tracer } from './locks/tracing.js'
import { check, isObject } from './platform/checks.js'

/**
 * Traces each request for a lock as `holdfast.wait`, from asking to the answer, and each lock as
 * `holdfast.hold`, from the grant to its end, with the attributes `holdfast.key`, `holdfast.mode`
 * and `holdfast.fence`. The context of the wait goes into the lock's metadata (`traceparent`),
 * where whoever queries can find it. What `withLock` calls runs in the context of the hold.
 *
 * @param tracer Default: the global one, by the name `@holdfast/client`.
 * @throws HoldfastError `INVALID_OPTION` if it is none.
 */
export function openTelemetry(tracer: SpanTracer = trace.getTracer('@holdfast/client')): Tracer {
  check(
    isObject(tracer) && typeof tracer.startSpan === 'function',
    'openTelemetry takes a tracer, as trace.getTracer() of @opentelemetry/api gives it',
  )
  return {
    request: (key, mode, metadata) => {
      const parent = context.active()
      const attributes = { 'holdfast.key': key, 'holdfast.mode': mode }
      const wait = tracer.startSpan('holdfast.wait', { kind: SpanKind.CLIENT, attributes }, parent)
      const carrier: Record<string, string> = {}
      propagation.inject(trace.setSpan(parent, wait), carrier)
      return {
        metadata: carry(metadata, carrier),
        failed: (error) => end(wait, error),
        granted: (fence) => {
          wait.setAttribute('holdfast.fence', fence)
          wait.end()
          const held = { ...attributes, 'holdfast.fence': fence }
          const hold = tracer.startSpan('holdfast.hold', { attributes: held }, parent)
          return holdTrace(hold, trace.setSpan(parent, hold))
        },
      }
    },
  }
}

/** @param inside Of the caller; what is active by now may be nothing, as in browsers. */
function holdTrace(hold: Span, inside: Context): HoldTrace {
  return {
    run: (callback) => context.with(inside, callback),
    ended: (lost) => end(hold, lost),
  }
}

function end(span: Span, error: HoldfastError | undefined): void {
  if (error !== undefined) {
    span.setAttribute('holdfast.error', error.code)
    span.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
  }
  span.end()
}

/**
 * Metadata with the carrier in it: as fields of an object, or instead of nothing. Metadata of other
 * kinds, and such that would become too long, stay as they are.
 *
 * @param metadata JSON text.
 */
function carry(
  metadata: string | undefined,
  carrier: Readonly<Record<string, string>>,
): string | undefined {
  if (Object.keys(carrier).length === 0) return metadata
  const own: unknown = metadata === undefined ? {} : JSON.parse(metadata)
  if (typeof own !== 'object' || own === null || Array.isArray(own)) return metadata
  const text = JSON.stringify({ ...carrier, ...own })
  return utf8Length(text) <= maxMetadataBytes ? text : metadata
}
