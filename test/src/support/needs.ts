/**
 * The needs of some tests: for instance a browser, a database or root. On a machine that does not
 * meet a need, the tests with this need are skipped with a reason. In CI (`CI=true`), the tests
 * fail instead if CI could have met the need by installing a package.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

interface Requirement {
  /** Commands that must be on the PATH. */
  readonly commands?: readonly string[] | undefined
  /** The Debian package that contains `commands`. */
  readonly package?: string | undefined
  readonly root?: boolean | undefined
  /** A command that must succeed. */
  readonly trial?: readonly [string, ...string[]] | undefined
}

const requirements = {
  root: { root: true },
  /** Network namespaces with links between them. */
  namespaces: {
    root: true,
    commands: ['ip'],
    package: 'iproute2',
    trial: [
      'unshare',
      '--net',
      'ip',
      'link',
      'add',
      'name',
      'a',
      'type',
      'veth',
      'peer',
      'name',
      'b',
    ],
  },
  /** File systems with a size that the test chooses. */
  mounts: { root: true, trial: ['unshare', '--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'] },
  /**
   * A PostgreSQL server for one test. Debian installs the programs of the server outside the PATH,
   * so `psql` on the PATH must show that they are installed.
   */
  postgres: { commands: ['psql'], package: 'postgresql' },
  /** A pooler in front of PostgreSQL. */
  pgbouncer: { commands: ['pgbouncer'], package: 'pgbouncer' },
  iptables: { root: true, commands: ['iptables'], package: 'iptables' },
  chromium: { commands: ['chromium'], package: 'chromium' },
  redis: { commands: ['redis-server'], package: 'redis-server' },
  nginx: { commands: ['nginx'], package: 'nginx-light' },
  openssl: { commands: ['openssl'], package: 'openssl' },
  /**
   * Pseudo-terminals by script(1) of util-linux, which Debian puts into the package `bsdutils`.
   * script(1) of BSD has other options. By the flag `-e`, the exit code is that of the command.
   */
  script: {
    commands: ['script'],
    package: 'bsdutils',
    trial: ['script', '-qefc', 'tty', '/dev/null'],
  },
  setpriv: { commands: ['setpriv'], package: 'util-linux' },
  etcd: { commands: ['etcd'], package: 'etcd-server' },
  /** Like `script`, for a test that does not use the flag `-f` (flush after each write). */
  scriptWithoutFlush: {
    commands: ['script'],
    package: 'bsdutils',
    trial: ['script', '-qec', 'true', '/dev/null'],
  },
  zsh: { commands: ['zsh'], package: 'zsh' },
  fish: { commands: ['fish'], package: 'fish' },
  man: { commands: ['man'], package: 'man-db' },
  /** For a test that checks a unit of systemd without a running systemd. */
  systemd: { commands: ['systemd-analyze'], package: 'systemd' },
  /** For a test that checks and tries alerts of Prometheus. */
  promtool: { commands: ['promtool'], package: 'prometheus' },
} as const satisfies Record<string, Requirement>

/** The name of a need. */
export type Need = keyof typeof requirements

/** The properties of a machine that decide whether a need is met. */
export interface Machine {
  readonly ci: boolean
  readonly root: boolean
  has(command: string): boolean
  succeeds(trial: readonly [string, ...string[]]): boolean
}

/** Why a machine does not meet a need, and whether CI could avoid this by installing a package. */
export interface Lack {
  readonly reason: string
  readonly avoidable: boolean
}

/** Returns undefined if the machine meets the need. */
export function lackOf(need: Need, machine: Machine): Lack | undefined {
  const requirement: Requirement = requirements[need]
  if (requirement.root && !machine.root) return { reason: 'needs root', avoidable: false }
  for (const command of requirement.commands ?? []) {
    if (machine.has(command)) continue
    const reason = `needs the command ${command} (Debian's package ${requirement.package})`
    // Only root can install a package in CI.
    return { reason, avoidable: machine.ci && machine.root }
  }
  if (requirement.trial && !machine.succeeds(requirement.trial)) {
    return {
      reason: `this machine does not allow "${requirement.trial.join(' ')}"`,
      avoidable: false,
    }
  }
  return undefined
}

/** Returns the Debian package for a need, if the need has a package. */
export function packageFor(need: string): string | undefined {
  if (!Object.hasOwn(requirements, need))
    throw new Error(`Unknown need "${need}": add it to the requirements in needs.ts`)
  return (requirements as Record<string, Requirement>)[need]?.package
}

const thisMachine: Machine = {
  ci: process.env['CI'] === 'true',
  root: process.getuid?.() === 0,
  has: (command) =>
    (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
      try {
        accessSync(join(folder, command), constants.X_OK)
        return true
      } catch {
        return false
      }
    }),
  succeeds: ([command, ...args]) => spawnSync(command, args, { stdio: 'ignore' }).status === 0,
}

/** Whether this machine meets the need, for tests that can also run without. */
export function machineMeets(need: Need): boolean {
  return lackOf(need, thisMachine) === undefined
}

/** The reason of each skipped test or suite. */
const reasons = new WeakMap<object, string>()

/** Call inside a `describe`: its tests run only if the machine meets all these needs. */
export function needs(...wanted: readonly Need[]): void {
  before(`needs ${wanted.join(', ')}`, function () {
    for (const need of wanted) {
      const lack = lackOf(need, thisMachine)
      if (lack === undefined) continue
      if (lack.avoidable) throw new Error(`${lack.reason}: CI must install it, see .ci/packages`)
      skip(this, lack.reason)
    }
  })
}

/** Skips the test, or the whole suite if a `before` hook calls this. The report has the reason. */
export function skip(context: Mocha.Context, reason: string): never {
  const runnable = context.runnable() as Mocha.Runnable & { type: string; parent?: Mocha.Suite }
  reasons.set(runnable.type === 'hook' && runnable.parent ? runnable.parent : runnable, reason)
  context.skip()
}

/** Returns the reason why a test, or a suite around the test, was skipped. */
export function reasonOf(test: Mocha.Test): string | undefined {
  let current: Mocha.Test | Mocha.Suite | undefined = test
  while (current !== undefined) {
    const reason = reasons.get(current)
    if (reason !== undefined) return reason
    current = current.parent
  }
  return undefined
}
