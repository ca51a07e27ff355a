/** The built-in WebSocket and console of a platform other than Node: browsers, workers, Deno. */
import { HoldfastError } from '@holdfast/shared'
import type { PlatformOptions, WebSocketConstructor } from './types.js'

export const PlatformWebSocket: WebSocketConstructor = globalThis.WebSocket

/**
 * @throws HoldfastError `INVALID_OPTION` always, because a page cannot set certificates or a proxy
 */
export function webSocketWithOptions(_: PlatformOptions): WebSocketConstructor {
  throw new HoldfastError('INVALID_OPTION', 'ca and proxy work in Node only')
}

export function warn(message: string, code: string): void {
  console.warn(`Holdfast: ${message} (${code})`)
}

/**
 * In Node this is a function that says how to fix a failed connection. It is undefined here,
 * because a browser does not tell its pages why a connection failed.
 */
export const adviceOnConnectionError = undefined
