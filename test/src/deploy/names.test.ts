/**
 * Tests the files of `server/deploy`, and the page about these files. Every flag, variable,
 * setting, port and exit code in them must exist in the real command. The lease is how long the
 * broker keeps a session without a message of its client. The drain is how long a stopping broker
 * waits for its sessions at most.
 */
import { settingsFrom } from '@holdfast/server/internal'
import { assert } from 'chai'
import { read } from '../conventions/repository.js'
import {
  allFiles,
  brokersOf,
  composeFiles,
  environments,
  exitCodes,
  flagsOf,
  imageEnvironment,
  kubernetesObjects,
  podsOf,
  program,
  readDeployFile,
  readDeployYaml,
  seconds,
  settingsModule,
} from './deployFiles.js'

const { settings, settingNames, defaults, variableOf } = settingsModule
const page = read('server/docs/running.md')
const files = [...allFiles(), page]

/** The flags of other programs that these files use. */
const otherFlags: Readonly<Record<string, readonly string[]>> = {
  docker: [
    ...['file', 'tag', 'init', 'publish', 'stop-timeout', 'mount', 'env', 'build', 'detach', 'rm'],
    ...['interval', 'timeout', 'start-period', 'retries', 'from'],
  ],
  etcd: [
    ...['name', 'data-dir', 'listen-client-urls', 'advertise-client-urls', 'listen-peer-urls'],
    ...['initial-advertise-peer-urls', 'initial-cluster', 'pre-vote', 'auto-compaction-retention'],
    'quota-backend-bytes',
  ],
  npm: ['omit', 'workspace', 'no-audit', 'no-fund', 'loglevel', 'global', 'prefix'],
  node: ['max-old-space-size'],
  kubectl: ['from-file', 'cert', 'key'],
  useradd: ['system', 'home-dir', 'shell'],
  systemctl: ['now'],
}

/** The commands of `holdfast` in a line, each with its flags. */
function shownCommands(line: string): { name: string; flags: string[] }[] {
  const names = program.commands.map((command) => command.name()).join('|')
  const pattern = new RegExp(`\\bholdfast (${names})\\b([^\`#|;&]*)`, 'g')
  return [...line.matchAll(pattern)].map(([, name = '', rest = '']) => ({
    name,
    flags: rest.match(/(?<=\s)--[a-z][a-z-]*/g) ?? [],
  }))
}

describe('the files to deploy: names', () => {
  it('use only variables that the command reads', () => {
    // The commands also read variables that are not settings of a broker, such as HOLDFAST_URL.
    const known = [...settingNames, 'config', 'url', 'token', 'ca', 'key', 'fence'].map(variableOf)
    for (const { path, text } of files) {
      for (const [name] of text.matchAll(/\bHOLDFAST_[A-Z][A-Z_]*/g)) {
        assert.include(known, name, path)
      }
    }
  })

  it('use only flags of the command and the listed flags of other programs', () => {
    const other = Object.values(otherFlags).flatMap((names) => names.map((name) => `--${name}`))
    const known = [...flagsOf(), ...other]
    for (const { path, text } of files) {
      for (const [flag] of text.matchAll(/(?<![\w-])--[a-z][a-z-]*/g)) {
        assert.include(known, flag, path)
      }
    }
  })

  it('use with each command only the flags of that command', () => {
    const shown = files.flatMap(({ path, text }) =>
      text
        .split('\n')
        .flatMap((line) => shownCommands(line).map((command) => ({ path, ...command }))),
    )
    // Fewer commands would mean that the pattern does not find the commands.
    assert.isAbove(shown.filter(({ flags }) => flags.length > 0).length, 4)
    for (const { path, name, flags } of shown) {
      assert.includeMembers(flagsOf(name), flags, `${path}: holdfast ${name}`)
    }
  })

  it('have a config file that has only settings as keys', () => {
    assert.includeMembers(
      [...settingNames],
      Object.keys(JSON.parse(readDeployFile('systemd/holdfast.json'))),
    )
  })

  it('give each setting a value of its kind', () => {
    const allEnvironments = [imageEnvironment(), ...environments().values()]
    const checks: Readonly<Record<string, (value: string, name: string) => void>> = {
      ms: (value, name) => assert.isAbove(seconds(value), 0, name),
      boolean: (value, name) => assert.include(['true', 'false'], value, name),
    }
    const checkedKinds = new Set<string>()
    for (const [name, value] of allEnvironments.flatMap((environment) =>
      Object.entries(environment),
    )) {
      if (!name.startsWith('HOLDFAST_')) continue
      const setting = settingNames.find((each) => variableOf(each) === name)
      assert.isDefined(setting, name)
      // Kubernetes refuses values that are not texts.
      assert.isString(value, name)
      const { kind } = settings[setting!]!
      checks[kind]?.(value, name)
      checkedKinds.add(kind)
    }
    // If a kind were renamed, its check would check no value.
    assert.includeMembers([...checkedKinds], Object.keys(checks))
  })

  it('restart the broker only after temporary problems, and name only exit codes that exist', () => {
    const unit = readDeployFile('systemd/holdfast.service')
    const [, codesWithoutRestart = ''] = /^RestartPreventExitStatus=(.*)$/m.exec(unit) ?? []
    assert.deepEqual(codesWithoutRestart.split(' ').map(Number), [
      exitCodes['usage'],
      exitCodes['config'],
    ])
    // The files and the page name these codes as numbers.
    const namedCodes = Object.entries({ unavailable: 69, io: 74, config: 78, usage: 64 })
    for (const [name, code] of namedCodes) assert.equal(exitCodes[name], code, name)
    for (const { path, text } of files) {
      for (const [, code] of text.matchAll(/\bexit codes? (\d+)/gi)) {
        assert.include(Object.values(exitCodes), Number(code), path)
      }
    }
  })
})

describe('the files to deploy: ports', () => {
  const adminPort = Number(imageEnvironment()['HOLDFAST_ADMIN_PORT'])
  const ports = [defaults.port, adminPort]

  it('are, for the image and for systemd, the default port and the admin port', () => {
    assert.deepEqual(
      /^EXPOSE (.*)$/m.exec(readDeployFile('Dockerfile'))?.[1]?.split(' ').map(Number),
      ports,
    )
    assert.equal(JSON.parse(readDeployFile('systemd/holdfast.json')).adminPort, adminPort)
  })

  it('are the same in each Kubernetes object', () => {
    for (const path of ['kubernetes/brokers.yaml', 'kubernetes/journal.yaml']) {
      for (const { container } of podsOf(path)) {
        const containerPorts = container.ports.map(
          (port: { containerPort: number }) => port.containerPort,
        )
        assert.deepEqual(containerPorts, ports, path)
      }
      const services = kubernetesObjects(path, 'Service').flatMap(({ spec }) => spec.ports)
      assert.deepEqual(
        services.map(({ name, port, targetPort }) => [name, port, targetPort]),
        [
          ['locks', defaults.port, 'locks'],
          ['admin', adminPort, 'admin'],
        ],
      )
    }
    const [{ spec }] = readDeployYaml('kubernetes/network-policy.yaml')
    const allowed = spec.ingress.flatMap((rule: { ports: { port: number }[] }) => rule.ports)
    assert.deepEqual(
      allowed.map(({ port }: { port: number }) => port),
      ports,
    )
  })

  it('are the same in Compose and in nginx', () => {
    // compose.yaml has one broker.
    const [, { ports: published }] = brokersOf('compose/compose.yaml')[0]!
    assert.deepEqual(published, [`${defaults.port}:${defaults.port}`])
    const upstreams = [
      ...readDeployFile('nginx/holdfast.conf').matchAll(/^ {2}server \S+:(\d+) /gm),
    ]
    assert.lengthOf(upstreams, 3)
    for (const [, port] of upstreams) assert.equal(Number(port), defaults.port)
  })
})

describe('the files to deploy: times and limits', () => {
  /** How many seconds the broker waits, after the drain, until its connections have closed. */
  const closingSeconds = 2

  it('kill a broker only after its drain', () => {
    for (const path of composeFiles) {
      for (const [, { stop_grace_period: period, environment }] of brokersOf(path)) {
        assert.isAbove(seconds(period), seconds(environment.HOLDFAST_DRAIN) + closingSeconds, path)
      }
    }
    for (const path of ['kubernetes/brokers.yaml', 'kubernetes/journal.yaml']) {
      for (const { object, container } of podsOf(path)) {
        const drain = environments().get(path)?.['HOLDFAST_DRAIN']
        // Kubernetes runs the command of `preStop`, a sleep, before the broker begins its drain.
        const [, pause] = container.lifecycle?.preStop.exec.command ?? ['sleep', '0']
        const shutdownSeconds = seconds(drain) + Number(pause) + closingSeconds
        assert.isAbove(
          object.spec.template.spec.terminationGracePeriodSeconds,
          shutdownSeconds,
          path,
        )
      }
    }
    const [, stopTimeout] =
      /^TimeoutStopSec=(.*)$/m.exec(readDeployFile('systemd/holdfast.service')) ?? []
    const { drain } = JSON.parse(readDeployFile('systemd/holdfast.json'))
    assert.isAbove(seconds(stopTimeout), seconds(drain) + closingSeconds)
    const [, dockerTimeout] = /--stop-timeout (\d+)/.exec(readDeployFile('Dockerfile')) ?? []
    assert.isAbove(Number(dockerTimeout), defaults.drain / 1_000 + closingSeconds)
  })

  it('allow more open files than the broker allows connections', () => {
    const { connections } = settingsFrom({}).limits
    const [, openFiles] =
      /^LimitNOFILE=(\d+)$/m.exec(readDeployFile('systemd/holdfast.service')) ?? []
    assert.isAbove(Number(openFiles), connections)
    for (const path of composeFiles) {
      for (const [, { ulimits }] of brokersOf(path)) assert.isAbove(ulimits.nofile, connections)
    }
  })

  it('let nginx keep a connection for longer than the time between two pings', () => {
    const { lease } = settingsFrom({})
    const conf = readDeployFile('nginx/holdfast.conf')
    // The broker pings each client every third of its lease, and the client answers.
    for (const name of ['proxy_read_timeout', 'proxy_send_timeout']) {
      const [, timeout] = new RegExp(`${name} (\\w+);`).exec(conf) ?? []
      assert.isAbove(seconds(timeout), lease.max / 3 / 1_000, name)
    }
    assert.include(conf, `The longest lease is ${lease.max / 1_000} s by default`)
  })
})
