/**
 * OpenTelemetry spans for waiting for a lock and for holding a lock. This file imports no
 * OpenTelemetry package except `@opentelemetry/api`. In a process without an OpenTelemetry SDK, the
 * spans do nothing and cost almost nothing. The package exports this file separately, so that
 * programs without OpenTelemetry load neither this file nor `@opentelemetry/api`.
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
 * Returns a tracer for `connect`. The tracer makes a span `holdfast.wait` for each lock request,
 * from the call to the grant or the error. The tracer makes a span `holdfast.hold` for each lock,
 * from the grant to the end of the lock. The spans have the attributes `holdfast.key`,
 * `holdfast.mode` and, after a grant, `holdfast.fence`, the number of the grant.
 *
 * The context of the wait span is added to the lock's metadata as `traceparent`, so that
 * `session.query` shows the context. The callback of `withLock` runs in the context of the hold
 * span.
 *
 * @param tracer The OpenTelemetry tracer. Default: the global tracer named `@holdfast/client`.
 * @throws HoldfastError `INVALID_OPTION` if the argument is not a tracer
 */
export function openTelemetry(tracer: SpanTracer = trace.getTracer('@holdfast/client')): Tracer {
  check(
    isObject(tracer) && typeof tracer.startSpan === 'function',
    'openTelemetry takes a tracer, such as the result of trace.getTracer()',
  )
  return {
    request: (key, mode, metadata) => {
      const parent = context.active()
      const attributes = { 'holdfast.key': key, 'holdfast.mode': mode }
      const waitOptions = { kind: SpanKind.CLIENT, attributes }
      const waitSpan = tracer.startSpan('holdfast.wait', waitOptions, parent)
      const carrier: Record<string, string> = {}
      propagation.inject(trace.setSpan(parent, waitSpan), carrier)
      return {
        metadata: addCarrier(metadata, carrier),
        failed: (error) => endSpan(waitSpan, error),
        granted: (fence) => {
          waitSpan.setAttribute('holdfast.fence', fence)
          waitSpan.end()
          const holdOptions = { attributes: { ...attributes, 'holdfast.fence': fence } }
          const holdSpan = tracer.startSpan('holdfast.hold', holdOptions, parent)
          return holdTrace(holdSpan, trace.setSpan(parent, holdSpan))
        },
      }
    },
  }
}

/**
 * The trace of a held lock. The hold span ends with the lock.
 *
 * @param holdContext The context of the hold span. `run` calls the callback in this context,
 *   because a browser loses the caller's own context while the caller awaits the grant.
 */
function holdTrace(holdSpan: Span, holdContext: Context): HoldTrace {
  return {
    run: (callback) => context.with(holdContext, callback),
    ended: (lossError) => endSpan(holdSpan, lossError),
  }
}

function endSpan(span: Span, error: HoldfastError | undefined): void {
  if (error !== undefined) {
    span.setAttribute('holdfast.error', error.code)
    span.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
  }
  span.end()
}

/**
 * Adds the fields of the carrier to the metadata, if the metadata is an object or absent. Other
 * metadata, and metadata that would become too long, stay unchanged.
 *
 * @param metadata JSON text.
 * @param carrier The fields by which OpenTelemetry passes a context on, such as `traceparent`.
 */
function addCarrier(
  metadata: string | undefined,
  carrier: Readonly<Record<string, string>>,
): string | undefined {
  if (Object.keys(carrier).length === 0) return metadata
  const fields: unknown = metadata === undefined ? {} : JSON.parse(metadata)
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) return metadata
  // The caller's field stays if the carrier has a field with the same name.
  const text = JSON.stringify({ ...carrier, ...fields })
  return utf8Length(text) <= maxMetadataBytes ? text : metadata
}
