/**
 * What this package uses of `ws`. Declared here so that the types of Node, which those of `ws`
 * bring along, stay out of code that has to run in a browser.
 */
declare module 'ws' {
  /** A constructor, as described where it is used. */
  export const WebSocket: unknown
}
