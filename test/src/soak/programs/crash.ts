/** A planted crash: a process that loads this module ends soon, with the exit code of an error. */

/** The time before the crash, in ms. In this time a broker listens and serves its first clients. */
const delayMs = 1_500

setTimeout(() => process.exit(70), delayMs).unref()
