/** The WebSocket that the platform itself has: a browser's, a worker's, Deno's; and its console. */
import { HoldfastError } from '@holdfast/shared'
import type { PlatformOptions, WebSocketConstructor } from '../environment.js'

export const PlatformWebSocket: WebSocketConstructor = globalThis.WebSocket

/** @throws HoldfastError `INVALID_OPTION`, because pages cannot choose how they connect. */
export function platformWebSocket({ ca }: PlatformOptions): WebSocketConstructor {
  const name = ca === undefined ? 'proxy' : 'ca'
  throw new HoldfastError('INVALID_OPTION', `${name} works in Node only: the browser decides here`)
}

export function warn(message: string, code: string): void {
  console.warn(`Holdfast: ${message} (${code})`)
}
