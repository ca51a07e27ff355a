/** Defines how a table shows figures: their titles, their order and their digits. */

/**
 * Titles by the name of the figure, in the order of the columns. "of X" means: divided by the same
 * figure of X. A "bare" log, ring or server has no locks.
 */
const titles: Readonly<Record<string, string>> = {
  count: 'count',
  pairsPerSecond: 'pairs/s',
  // The reference is the echo server.
  ratioToReference: 'of echo',
  ratioToRing: 'of bare ring',
  commandsPerSecond: 'commands/s',
  ratioToBareLog: 'of bare log',
  timeRatioToBareLog: 'time, of bare log',
  timeRatioToBare: 'time, of bare',
  // The range of the ratio over the runs. For a single run, the range is over its rounds.
  lowestRatio: 'least',
  highestRatio: 'most',
  firstMs: 'first grant, ms',
  allMs: 'all, ms',
  calmP50Us: 'calm p50, µs',
  calmP99Us: 'calm p99, µs',
  p50Us: 'p50, µs',
  p99Us: 'p99, µs',
  maxUs: 'max, µs',
  maxMs: 'max, ms',
  // How many good clients lost their session or a lock.
  lostSessions: 'clients that lost',
  stallMs: 'longest stall, ms',
  peakMiB: 'peak, MiB',
  died: 'died',
  sent: 'hostile messages',
  // How many connections of hostile clients the broker closed or refused.
  cuts: 'hostile cuts',
  p50OfCalm: 'p50, of calm',
  p99OfCalm: 'p99, of calm',
  acceptedPerSecond: 'accepted/s',
  refusedPerSecond: 'refused/s',
  serverUsPerPair: 'server, µs/pair',
  serverRatioToReference: 'of echo’s',
  generatorUsPerPair: 'generator, µs/pair',
  // "By hand" means: with frames that the generator writes itself.
  clientCpuRatioToByHand: 'of by hand',
  packetsPerPair: 'packets/pair',
  bytesPerPair: 'bytes/pair',
  unfairness: 'grants, max − min',
  beforeMiB: 'empty, MiB',
  afterMiB: 'full, MiB',
  bytesEach: 'bytes each',
  fillSeconds: 'filled in, s',
  joinSeconds: 'joined in, s',
  joinCpuSeconds: 'CPU time of the join, s',
  reads: 'reads',
  writes: 'writes',
  refreshes: 'refreshes',
  timeouts: 'timeouts',
  aborts: 'aborts',
  events: 'events',
  grants: 'grants',
  violations: 'violations',
  // A "hot" message has a frequent type.
  validateNs: 'hot message, ns',
  validateRareNs: 'rare message, ns',
  parseNs: 'JSON.parse, ns',
  // A "set" is one lock on several keys.
  setPairUs: 'a set, µs',
  setOneByOneUs: 'its keys one by one, µs',
  setHandOffUs: 'a hand-off of a set, µs',
  // The broker checks the waits in a scope (one task with several locks) for deadlocks.
  plainWaitUs: 'a wait and its cancel without a scope, µs',
  checkedWaitUs: 'the same in a scope, with the check, µs',
  deadlockUs: 'a refused deadlock, µs',
  visitsPerCheck: 'visited scopes a check',
  // The CPU time that one session needs during one lease.
  idleUsPerLease: 'CPU a session and lease, µs',
  // The share of a core that 18,000 sessions with a lease of 15 s need.
  idlePercent: 'CPU for 18,000 with 15 s, %',
  backMs: 'all back, ms',
  serverUsPerHandshake: 'server, µs/handshake',
  clientUsPerHandshake: 'clients, µs/handshake',
  startMs: 'start to grant, ms',
  startCpuMs: 'CPU time, ms',
}

export interface Column {
  readonly figure: string
  readonly title: string
}

/** The columns that the figures of these rows need. */
export function columnsFor(rows: readonly Readonly<Record<string, number>>[]): Column[] {
  const present = new Set(rows.flatMap((figures) => Object.keys(figures)))
  return Object.entries(titles)
    .filter(([figure]) => present.has(figure))
    .map(([figure, title]) => ({ figure, title }))
}

/** Three significant digits at most, or a whole number from 100 on. A missing figure is a dash. */
export function formatFigure(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return '–'
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en')
  return String(Number(value.toPrecision(3)))
}
