/** The WebSocket that the platform itself has: a browser's, a worker's, Deno's; and its console. */
import { HoldfastError } from '@holdfast/shared'
import type { PlatformOptions, WebSocketConstructor } from '../environment.js'

export const PlatformWebSocket: WebSocketConstructor = globalThis.WebSocket

/** @throws HoldfastError `INVALID_OPTION`, because pages cannot choose how they connect. */
export function platformWebSocket(_: PlatformOptions): WebSocketConstructor {
  throw new HoldfastError('INVALID_OPTION', 'ca and proxy work in Node only')
}

export function warn(message: string, code: string): void {
  console.warn(`Holdfast: ${message} (${code})`)
}

/** A page is not told what went wrong. */
export const adviceOn = undefined
