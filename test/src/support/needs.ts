/**
 * What some tests need from the machine: a browser, a database, root. On a machine without it they
 * are skipped with a reason. In CI (`CI=true`), a skip that an installed package would have avoided
 * is a failure.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

interface Requirement {
  /** Commands that must be on the PATH, and Debian's package for them. */
  readonly commands?: readonly string[] | undefined
  readonly package?: string | undefined
  readonly root?: boolean | undefined
  /** A command that must succeed, for a need that only a trial shows. */
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
  /** A PostgreSQL server of the test's own; Debian keeps its programs off the PATH. */
  postgres: { commands: ['psql'], package: 'postgresql' },
  iptables: { root: true, commands: ['iptables'], package: 'iptables' },
  chromium: { commands: ['chromium'], package: 'chromium' },
  redis: { commands: ['redis-server'], package: 'redis-server' },
  nginx: { commands: ['nginx'], package: 'nginx-light' },
  openssl: { commands: ['openssl'], package: 'openssl' },
  /** Pseudo-terminals by script(1) of util-linux; the one of BSD has other options. */
  script: {
    commands: ['script'],
    package: 'bsdutils',
    trial: ['script', '-qefc', 'tty', '/dev/null'],
  },
  setpriv: { commands: ['setpriv'], package: 'util-linux' },
  etcd: { commands: ['etcd'], package: 'etcd-server' },
  /** A terminal for a program under test, by a command of util-linux. */
  terminal: {
    commands: ['script'],
    package: 'bsdutils',
    trial: ['script', '-qec', 'true', '/dev/null'],
  },
  zsh: { commands: ['zsh'], package: 'zsh' },
  fish: { commands: ['fish'], package: 'fish' },
  man: { commands: ['man'], package: 'man-db' },
  /** Checks a unit of systemd without a running systemd. */
  systemd: { commands: ['systemd-analyze'], package: 'systemd' },
  /** Checks and tries alerts of Prometheus. */
  promtool: { commands: ['promtool'], package: 'prometheus' },
} as const satisfies Record<string, Requirement>

export type Need = keyof typeof requirements

/** The properties of a machine that decide whether a need is met. */
export interface Machine {
  readonly ci: boolean
  readonly root: boolean
  has(command: string): boolean
  succeeds(trial: readonly [string, ...string[]]): boolean
}

/** Undefined if the machine meets the need; otherwise the reason, and whether CI could avoid it. */
export interface Lack {
  readonly reason: string
  readonly avoidable: boolean
}

export function lackOf(need: Need, machine: Machine): Lack | undefined {
  const wants: Requirement = requirements[need]
  if (wants.root && !machine.root) return { reason: 'needs root', avoidable: false }
  for (const command of wants.commands ?? []) {
    if (machine.has(command)) continue
    const reason = `needs the command ${command} (Debian's package ${wants.package})`
    // Only root can install a package in CI.
    return { reason, avoidable: machine.ci && machine.root }
  }
  if (wants.trial && !machine.succeeds(wants.trial)) {
    return { reason: `this machine does not allow "${wants.trial.join(' ')}"`, avoidable: false }
  }
  return undefined
}

/** Debian's package for a need, if it has one. */
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

/** Whether this machine meets the need, for tests that have an alternative. */
export function has(need: Need): boolean {
  return lackOf(need, thisMachine) === undefined
}

const reasons = new WeakMap<object, string>()

/** Inside a `describe`: its tests run only if the machine meets all of these needs. */
export function needs(...wanted: readonly Need[]): void {
  before(`needs ${wanted.join(', ')}`, function () {
    for (const need of wanted) {
      const lack = lackOf(need, thisMachine)
      if (lack === undefined) continue
      if (lack.avoidable) throw new Error(`${lack.reason}: CI has to install it, see .ci/packages`)
      skip(this, lack.reason)
    }
  })
}

/** Skips the test, or the whole suite from a `before` hook, with a reason for the report. */
export function skip(context: Mocha.Context, reason: string): never {
  const runnable = context.runnable() as Mocha.Runnable & { type: string; parent?: Mocha.Suite }
  reasons.set(runnable.type === 'hook' && runnable.parent ? runnable.parent : runnable, reason)
  context.skip()
}

/** The reason for which a test or a suite around it was skipped. */
export function reasonOf(test: Mocha.Test): string | undefined {
  let inner: Mocha.Test | Mocha.Suite | undefined = test
  while (inner !== undefined) {
    const reason = reasons.get(inner)
    if (reason !== undefined) return reason
    inner = inner.parent
  }
  return undefined
}
