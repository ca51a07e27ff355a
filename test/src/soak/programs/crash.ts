/** A planted crash: a process that loads this module ends soon, as after an error. */

/** Long enough for a broker to listen and to serve its first clients, in ms. */
const delayMs = 1_500

setTimeout(() => process.exit(70), delayMs).unref()
