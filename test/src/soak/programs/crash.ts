/** A planted crash: a process that loads this module ends soon, with the exit code of an error. */

/** The delay in ms: until then a broker listens and serves its first clients. */
const delayMs = 1_500

setTimeout(() => process.exit(70), delayMs).unref()
