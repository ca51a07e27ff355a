/** The WebSocket that the platform itself has: a browser's, a worker's, Deno's. */
import type { WebSocketConstructor } from '../environment.js'

export const PlatformWebSocket: WebSocketConstructor = globalThis.WebSocket
