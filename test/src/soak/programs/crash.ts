/** A planted crash: a process that loads this module soon ends with an exit code other than 0. */

/** The time before the crash, in ms: long enough for a broker to serve its first clients. */
const delayMs = 1_500

setTimeout(() => process.exit(70), delayMs).unref()
