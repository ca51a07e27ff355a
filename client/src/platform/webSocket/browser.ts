/** The WebSocket that the platform has built in (browsers, workers, Deno), and its console. */
import { HoldfastError } from '@holdfast/shared'
import type { PlatformOptions, WebSocketConstructor } from './types.js'

export const PlatformWebSocket: WebSocketConstructor = globalThis.WebSocket

/** @throws HoldfastError `INVALID_OPTION`, because a page cannot choose how it connects */
export function platformWebSocket(_: PlatformOptions): WebSocketConstructor {
  throw new HoldfastError('INVALID_OPTION', 'ca and proxy work in Node only')
}

export function warn(message: string, code: string): void {
  console.warn(`Holdfast: ${message} (${code})`)
}

/** A browser does not tell its pages why a connection failed. */
export const adviceOn = undefined
