/**
 * The targets of the broker, and how to read the measured figures from the rows of a run. A pair is
 * one lock and its unlock. The title of a target names the workload, the shape of the load, and the
 * figure after a colon.
 *
 * - W1: each client locks keys of its own. W2: clients queue for one hot key. W3: memory, and many
 *   locks. W4: the holder of a hot key dies. W6: the client library alone.
 * - "64×16" means 64 sessions, each with 16 pairs at a time. "K=100" is a hot key with 100 clients.
 * - "A ÷ B" is a ratio. "÷ echo" means: divided by the same figure of the echo, which is a
 *   WebSocket server without locks. "÷ by hand" means: divided by the figure of frames that the
 *   benchmark writes itself, without the client library. "÷ bare frames" means: divided by the time
 *   of a server without locks that sends the same number of frames. "÷ a bare put and watch" means:
 *   divided by the time until etcd reports a put to a watcher.
 * - To compare the rates of two loads, a target divides their ratios to the echo, because other
 *   programs on the machine slow the echo alike.
 */
import type { Placement, Row } from '../job.js'
import { peers } from '../peers/index.js'

export interface Target {
  readonly title: string
  /** The figure to reach. */
  readonly level: number
  /** A harder target, if there is one. */
  readonly stretch: number | undefined
  /** Whether a larger or a smaller figure is better. */
  readonly better: 'more' | 'less'
  /**
   * Reads the measured figure; returns undefined if the rows do not have the figure. `system`
   * selects the rows of the broker with frames by hand, or with the client library.
   */
  readonly measure: (figures: Figures, system: string) => number | undefined
  /** Whether `measure` depends on `system`. The client library then has a figure too. */
  readonly alsoWithClient: boolean
}

/** Whether the figure reaches the target (`yes`) or even the stretch (`stretch`). */
export type Outcome = 'stretch' | 'yes' | 'no' | 'not run'

export interface TargetResult {
  readonly target: Target
  readonly measured: number | undefined
  /** The figure with the client library; undefined if it was not measured. */
  readonly measuredWithClient: number | undefined
  readonly outcome: Outcome
}

/** Finds figures in the rows of a run. */
export class Figures {
  readonly #rows: readonly Row[]

  constructor(rows: readonly Row[]) {
    this.#rows = rows
  }

  /**
   * The figure of a row; undefined if the rows do not have the figure. The `system` of a row is the
   * measured service or client. Exceptions: in `logs` and `floods`, `system` names the load, and in
   * `neighbours`, `system` names the outcome.
   */
  of(
    workload: string,
    shape: string,
    system: string,
    figure: string,
    placement?: Placement,
  ): number | undefined {
    return this.#rows.find(
      (row) =>
        row.workload === workload &&
        row.shape === shape &&
        row.system === system &&
        (placement === undefined || row.placement === placement),
    )?.figures[figure]
  }

  /** The largest figure of these systems; undefined if no row has such a figure. */
  largestOfSystems(
    workload: string,
    shape: string,
    systems: readonly string[],
    figure: string,
    placement?: Placement,
  ): number | undefined {
    const values = systems.flatMap(
      (system) => this.of(workload, shape, system, figure, placement) ?? [],
    )
    return values.length === 0 ? undefined : Math.max(...values)
  }

  /**
   * The largest figure of all shapes that begin with `beginning`; undefined without such a shape.
   */
  largestOfShapes(workload: string, beginning: string, figure: string): number | undefined {
    const values = this.#rows.flatMap((row) =>
      row.workload === workload && row.shape.startsWith(beginning) ? [row.figures[figure]!] : [],
    )
    return values.length === 0 ? undefined : Math.max(...values)
  }
}

/** The names of the systems in the rows of most workloads. */
const byHand = 'holdfast, by hand'
const library = 'holdfast, client'
const echo = 'ws echo'

function ratio(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a / b
}

/**
 * Where a figure is in the rows. The placement says whether the server and the load generator share
 * one core. Without a placement, the first row counts.
 */
type FigureAddress = readonly [
  workload: string,
  shape: string,
  figure: string,
  placement?: Placement,
]

/** A target for one figure of one row. */
function figureTarget(
  title: string,
  [level, stretch]: readonly [number, number | undefined],
  better: Target['better'],
  [workload, shape, figure, placement]: FigureAddress,
): Target {
  return {
    title,
    level,
    stretch,
    better,
    measure: (figures, system) => figures.of(workload, shape, system, figure, placement),
    alsoWithClient: true,
  }
}

/** A target whose figure a function computes, or reads from a row of another system. */
function computedTarget(
  title: string,
  [level, stretch]: readonly [number, number | undefined],
  better: Target['better'],
  measure: Target['measure'],
  alsoWithClient = false,
): Target {
  return { title, level, stretch, better, measure, alsoWithClient }
}

const uncontended: readonly Target[] = [
  figureTarget('W1 64×16: pairs/s ÷ echo', [1.5, 2.5], 'more', ['W1', '64×16', 'ratioToReference']),
  figureTarget('W1 64×16: server CPU per pair ÷ echo', [0.6, 0.4], 'less', [
    'W1',
    '64×16',
    'serverRatioToReference',
  ]),
  figureTarget('W1 64×1: pairs/s ÷ echo', [0.85, 1], 'more', ['W1', '64×1', 'ratioToReference']),
  computedTarget(
    'W1 64×1: p99 ÷ p50',
    [4, undefined],
    'less',
    (figures, system) =>
      ratio(figures.of('W1', '64×1', system, 'p99Us'), figures.of('W1', '64×1', system, 'p50Us')),
    /* alsoWithClient */ true,
  ),
  figureTarget('W1 1×1, one core: pairs/s ÷ echo', [0.8, 0.9], 'more', [
    'W1',
    '1×1',
    'ratioToReference',
    'shared',
  ]),
  computedTarget(
    'W1 1×1, one core: p50 ÷ echo',
    [1.35, 1.2],
    'less',
    (figures, system) =>
      ratio(
        figures.of('W1', '1×1', system, 'p50Us', 'shared'),
        figures.of('W1', '1×1', echo, 'p50Us', 'shared'),
      ),
    /* alsoWithClient */ true,
  ),
]

const handoffs: readonly Target[] = [
  ...['K=2', 'K=100', 'K=1000'].map((shape) =>
    figureTarget(`W2 ${shape}: hand-offs/s ÷ pairs/s of the echo`, [0.72, 0.85], 'more', [
      'W2',
      shape,
      'ratioToReference',
    ]),
  ),
  computedTarget(
    'W2: hand-offs/s of K=1000 ÷ K=2',
    [0.85, 0.95],
    'more',
    (figures, system) =>
      ratio(
        figures.of('W2', 'K=1000', system, 'ratioToReference'),
        figures.of('W2', 'K=2', system, 'ratioToReference'),
      ),
    /* alsoWithClient */ true,
  ),
  figureTarget('W2 K=100: packets per hand-off', [4.1, 3], 'less', [
    'W2',
    'K=100',
    'packetsPerPair',
  ]),
  figureTarget('W2 K=100: bytes per hand-off', [420, 350], 'less', ['W2', 'K=100', 'bytesPerPair']),
  figureTarget('W2 K=100: grants of the luckiest − of the unluckiest client', [3, 2], 'less', [
    'W2',
    'K=100',
    'unfairness',
  ]),
]

/**
 * The targets of the client library. Some targets compare the library with frames that the same run
 * wrote by hand, and the others compare it with the echo.
 */
const clientTargets: readonly Target[] = [
  ...(['shared', 'split'] as const).map((placement) =>
    computedTarget(
      `client W1 1×1, ${placement === 'shared' ? 'one core' : 'two cores'}: pairs/s ÷ by hand`,
      [0.95, undefined],
      'more',
      (figures) =>
        ratio(
          figures.of('W1', '1×1', library, 'ratioToReference', placement),
          figures.of('W1', '1×1', byHand, 'ratioToReference', placement),
        ),
    ),
  ),
  ...(
    [
      ['W1', '64×1', [0.8, 0.95]],
      ['W1', '64×16', [1.8, 2.2]],
      ['W2', 'K=2', [0.85, undefined]],
      ['W2', 'K=100', [0.7, undefined]],
      ['W2', 'K=1000', [0.6, undefined]],
    ] as const
  ).map(([workload, shape, levels]) =>
    computedTarget(`client ${workload} ${shape}: pairs/s ÷ echo`, levels, 'more', (figures) =>
      figures.of(workload, shape, library, 'ratioToReference'),
    ),
  ),
  ...(
    [
      ['1×1', 1.15],
      ['64×16', 1.5],
    ] as const
  ).map(([shape, level]) =>
    computedTarget(
      `client W6 ${shape}: CPU of the client per pair ÷ by hand`,
      [level, undefined],
      'less',
      (figures) => figures.of('W6', shape, library, 'clientCpuRatioToByHand'),
    ),
  ),
]

const memory: readonly Target[] = [
  computedTarget(
    'W3: bytes of an idle session − bytes of a bare connection',
    [1_500, 800],
    'less',
    (figures) => {
      const shape = 'idle sessions: 10,000'
      const session = figures.of('W3', shape, 'holdfast', 'bytesEach')
      const bare = figures.of('W3', shape, 'ws echo, connections', 'bytesEach')
      return session === undefined || bare === undefined ? undefined : session - bare
    },
  ),
  computedTarget('W3: bytes of a held lock among 1,000,000', [400, 250], 'less', (figures) =>
    figures.of('W3', 'held locks: 1,000,000', 'holdfast', 'bytesEach'),
  ),
  computedTarget('W3: bytes of a waiter, all on one key', [550, 350], 'less', (figures) =>
    figures.of('W3', 'waiters on one key: 1,000,000', 'holdfast', 'bytesEach'),
  ),
  computedTarget('W3: bytes of a waiter, spread over keys', [550, 350], 'less', (figures) =>
    figures.of('W3', 'waiters, spread over keys: 1,000,000', 'holdfast', 'bytesEach'),
  ),
  computedTarget(
    'W3: server CPU of a pair among 1,000,000 locks ÷ among 1,000',
    [1.3, 1.1],
    'less',
    (figures) =>
      ratio(
        figures.of('W3', 'a pair among 1,000,000 locks', byHand, 'serverRatioToReference'),
        figures.of('W3', 'a pair among 1,000 locks', byHand, 'serverRatioToReference'),
      ),
  ),
]

/** Reads a figure of three brokers on etcd. Other numbers of brokers have no targets there. */
const onEtcd = (load: string, figure: string) => (figures: Figures) =>
  figures.of('logs', 'etcd, 3 brokers', load, figure)

const logs: readonly Target[] = [
  computedTarget(
    'logs etcd, 3 brokers: time of a grant ÷ a bare put and watch',
    [1.5, 1.2],
    'less',
    onEtcd('a grant, alone', 'timeRatioToBareLog'),
  ),
  computedTarget(
    'logs etcd, 3 brokers: time of a hand-off ÷ a bare put and watch',
    [2.5, 1.5],
    'less',
    onEtcd('a hand-off', 'timeRatioToBareLog'),
  ),
  computedTarget(
    'logs etcd, 3 brokers: commands/s ÷ the bare log',
    [0.6, 0.8],
    'more',
    onEtcd('64×16', 'ratioToBareLog'),
  ),
  ...['1 broker', '3 brokers'].map((brokers) =>
    computedTarget(
      `logs PostgreSQL, ${brokers}: time of a grant ÷ a bare commit`,
      [2, 1.5],
      'less',
      (figures) =>
        figures.of('logs', `PostgreSQL, ${brokers}`, 'a grant, alone', 'timeRatioToBareLog'),
    ),
  ),
  computedTarget('logs journal: time of a grant ÷ a bare commit', [2.5, 1.5], 'less', (figures) =>
    figures.of('logs', 'journal', 'a grant, alone', 'timeRatioToBareLog'),
  ),
]

/** The only shape of W4. */
const stampede = '1000 wait, the holder dies'

const otherTargets: readonly Target[] = [
  ...(['shared', 'split'] as const).flatMap((placement) => {
    const cores = placement === 'shared' ? 'one core' : 'two cores'
    return [
      figureTarget(`W4 ${cores}: time ÷ bare frames`, [1.3, 1.15], 'less', [
        'W4',
        stampede,
        'timeRatioToBare',
        placement,
      ]),
      figureTarget(`W4 ${cores}: first grant, ms`, [15, 5], 'less', [
        'W4',
        stampede,
        'firstMs',
        placement,
      ]),
    ]
  }),
  figureTarget('journal 64×16, flushed: pairs/s', [20_000, 40_000], 'more', [
    'journal',
    '64×16',
    'pairsPerSecond',
  ]),
  ...['connections', 'hellos', 'slow readers'].map((flood) =>
    computedTarget(
      `floods, ${flood}: p99 of a good client ÷ its p99 without the flood`,
      [2, 1.2],
      'less',
      (figures) => figures.of('floods', 'one good client', flood, 'p99OfCalm'),
    ),
  ),
  computedTarget('validation: a hot message, µs', [1, 0.5], 'less', (figures) => {
    const ns = figures.of('validation', 'a message', 'holdfast', 'validateNs')
    return ns === undefined ? undefined : ns / 1_000
  }),
  computedTarget(
    'idle: 18,000 sessions that hold nothing, % of a core',
    [5, undefined],
    'less',
    (figures) => figures.of('idle', 'sessions that hold nothing', library, 'idlePercent'),
  ),
  computedTarget(
    'idle: 18,000 sessions that hold a lock each, % of a core',
    [9, undefined],
    'less',
    (figures) => figures.of('idle', 'sessions that hold a lock each', library, 'idlePercent'),
  ),
  computedTarget('restart: ms until all sessions are back', [10_000, 5_000], 'less', (figures) =>
    figures.of('restart', 'sessions by hand', byHand, 'backMs'),
  ),
  computedTarget('startup: CPU from start to first grant, ms', [300, 150], 'less', (figures) =>
    figures.of('startup', 'start to first grant', 'holdfast serve', 'startCpuMs'),
  ),
]

/**
 * The targets of the workload "neighbours", in which ten good clients share the broker with hostile
 * clients. A profile is a set of limits of the broker. Each target applies to the worst figure over
 * all kinds of hostile clients.
 */
const neighbourTargets: readonly Target[] = (
  [
    ['private', 100],
    ['public', 50],
  ] as const
).flatMap(([profile, maxMs]) => {
  /** Reads the largest figure of all kinds of hostile clients, divided by `scale`. */
  const worst = (figure: string, scale: number) => (figures: Figures) => {
    const max = figures.largestOfShapes('neighbours', `${profile}: `, figure)
    return max === undefined ? undefined : max / scale
  }
  return [
    computedTarget(
      `neighbours ${profile}: how many of ten good clients lost something`,
      [0, undefined],
      'less',
      worst('lostSessions', 1),
    ),
    computedTarget(
      `neighbours ${profile}: p99 of a good client, ms`,
      [maxMs, undefined],
      'less',
      worst('p99Us', 1_000),
    ),
  ]
})

/**
 * Compares the client library with a peer (another lock service) in the peer's best configuration.
 * Both run the same load, which awaits each lock and each unlock.
 */
function peerTarget(
  [workload, shape, placement]: readonly [string, string, Placement?],
  service: string,
  levels: readonly [number, number],
): Target {
  const cores = placement === undefined ? '' : placement === 'shared' ? ', one core' : ', two cores'
  const configurations = peers.filter((peer) => peer.service === service).map(({ name }) => name)
  return computedTarget(
    `${workload} ${shape}${cores}: client ÷ ${service}`,
    levels,
    'more',
    (figures) =>
      ratio(
        figures.of(workload, shape, library, 'ratioToReference', placement),
        figures.largestOfSystems(
          `${workload} peers`,
          shape,
          configurations,
          'ratioToReference',
          placement,
        ),
      ),
  )
}

const peerTargets: readonly Target[] = [
  peerTarget(['W1', '64×1'], 'live-mutex', [2, 2.5]),
  peerTarget(['W1', '64×16'], 'live-mutex', [6, 8]),
  peerTarget(['W1', '1×1', 'shared'], 'redis, SET NX + Lua', [0.75, 0.85]),
  peerTarget(['W1', '1×1', 'split'], 'redis, SET NX + Lua', [0.75, 0.85]),
  peerTarget(['W1', '64×16'], 'redis, SET NX + Lua', [2, 3]),
  peerTarget(['W1', '64×16'], 'postgresql', [3.5, 5]),
  peerTarget(['W2', 'K=100'], 'live-mutex', [2, 2.5]),
  peerTarget(['W2', 'K=1000'], 'live-mutex', [2, 2.5]),
  peerTarget(['W2', 'K=100'], 'postgresql', [1.4, 2]),
  peerTarget(['W2', 'K=1000'], 'postgresql', [1.8, 2.5]),
  peerTarget(['W2', 'K=1000'], 'redis-semaphore', [300, 500]),
]

/**
 * Compares every target with these rows.
 *
 * @param withPeers Whether the run measured peers.
 */
export function compareWithTargets(rows: readonly Row[], withPeers: boolean): TargetResult[] {
  const figures = new Figures(rows)
  const targets = [
    ...uncontended,
    ...handoffs,
    ...clientTargets,
    ...memory,
    ...otherTargets,
    ...neighbourTargets,
    ...logs,
  ]
  return [...targets, ...(withPeers ? peerTargets : [])].map((target) => {
    const measured = target.measure(figures, byHand)
    const measuredWithClient = target.alsoWithClient ? target.measure(figures, library) : undefined
    return { target, measured, measuredWithClient, outcome: outcomeOf(target, measured) }
  })
}

function outcomeOf({ level, stretch, better }: Target, measured: number | undefined): Outcome {
  if (measured === undefined || Number.isNaN(measured)) return 'not run'
  const reaches = (value: number): boolean =>
    better === 'more' ? measured >= value : measured <= value
  if (stretch !== undefined && reaches(stretch)) return 'stretch'
  return reaches(level) ? 'yes' : 'no'
}
