/**
 * Reads the files of `server/deploy` and the settings of the command `holdfast`, so that tests can
 * compare the files with the command. An environment is the set of variables that a file gives to a
 * broker.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { assert } from 'chai'
import { parseAllDocuments } from 'yaml'
import { filesUnder, root, type SourceFile } from '../conventions/repository.js'

/** The folder with the files to deploy, from the root of the repository. */
export const deployFolder = 'server/deploy'

/** The variables of a container, by name. */
export type Environment = Readonly<Record<string, string>>

/** Parsed YAML, which may have any fields. */
// biome-ignore lint/suspicious/noExplicitAny: the tests read many fields of several formats
export type Yaml = any

/** The text of a file, by its path in `server/deploy`. */
export function readDeployFile(path: string): string {
  return readFileSync(join(root, deployFolder, path), 'utf8')
}

/** All files of `server/deploy`. */
export function allFiles(): SourceFile[] {
  return filesUnder(deployFolder, /* any ending */ '')
}

/** The documents of a YAML file. Docker and Kubernetes read YAML 1.1, where 0440 is octal. */
export function readDeployYaml(path: string): Yaml[] {
  return parseAllDocuments(readDeployFile(path), { version: '1.1' }).map((document) => {
    assert.isEmpty([...document.errors, ...document.warnings], path)
    return document.toJS()
  })
}

/** The documents of one kind, such as `Service`, in a Kubernetes file. */
export function kubernetesObjects(path: string, kind: string): Yaml[] {
  return readDeployYaml(path).filter((document) => document.kind === kind)
}

// ------------------------------------------------------------------------- the command

const serverUrl = import.meta.resolve('@holdfast/server')

// What these tests use of the modules of `holdfast`. The package does not export these modules.

interface Option {
  readonly long: string | undefined
}

interface Command {
  readonly commands: readonly Command[]
  readonly options: readonly Option[]
  name(): string
}

interface ProgramModule {
  createProgram(): Promise<Command>
}

interface SettingsModule {
  readonly settingNames: readonly string[]
  readonly settings: Readonly<Record<string, { readonly kind: string }>>
  readonly defaults: { readonly port: number; readonly drain: number }
  flagOf(name: string): string
  variableOf(name: string): string
}

interface ExitCodesModule {
  readonly exitCodes: Readonly<Record<string, number>>
}

const importFromServer = <T>(file: string): Promise<T> =>
  import(new URL(file, serverUrl).href) as Promise<T>

export const settingsModule = await importFromServer<SettingsModule>('./cli/settings.js')
export const { exitCodes } = await importFromServer<ExitCodesModule>('./cli/exitCodes.js')
const { createProgram } = await importFromServer<ProgramModule>('./cli/program.js')
export const program = await createProgram()

/** The long flags, such as `--port`, of the command of this name. Default: of all commands. */
export function flagsOf(name?: string): string[] {
  const commands = program.commands.filter(
    (command) => name === undefined || command.name() === name,
  )
  assert.isNotEmpty(commands, name)
  const flags = commands.flatMap(({ options }) => options.flatMap(({ long }) => long ?? []))
  // The parser adds these two flags to every command.
  return [...flags, '--help', '--version']
}

// ------------------------------------------------------------------------- environments

/** The variables that the Dockerfile sets for each container. */
export function imageEnvironment(): Environment {
  const [, line = ''] = /^ENV (.*)$/m.exec(readDeployFile('Dockerfile')) ?? []
  return Object.fromEntries(line.split(' ').map((pair) => pair.split('=') as [string, string]))
}

/** For each Deployment and StatefulSet of a Kubernetes file: the object and its pods' container. */
export function podsOf(path: string): { readonly object: Yaml; readonly container: Yaml }[] {
  return [...kubernetesObjects(path, 'Deployment'), ...kubernetesObjects(path, 'StatefulSet')].map(
    (object) => ({
      object,
      container: object.spec.template.spec.containers[0],
    }),
  )
}

export const composeFiles = [
  'compose/compose.yaml',
  'compose/cluster.yaml',
  'compose/postgres.yaml',
] as const

/** The services of a Compose file that run the image of the broker. */
export function brokersOf(path: string): [name: string, service: Yaml][] {
  const [{ services }] = readDeployYaml(path)
  return Object.entries<Yaml>(services).filter(([, { image }]) => image === 'holdfast')
}

/**
 * Every environment in which the files start a broker. The key is the path of the file, followed by
 * the name of the service for a Compose file.
 */
export function environments(): ReadonlyMap<string, Environment> {
  const found = new Map<string, Environment>()
  for (const path of composeFiles) {
    for (const [name, { environment }] of brokersOf(path)) found.set(`${path} ${name}`, environment)
  }
  for (const path of ['kubernetes/brokers.yaml', 'kubernetes/journal.yaml']) {
    for (const { container } of podsOf(path)) {
      const pairs = container.env.map(({ name, value }: Yaml) => [name, value])
      found.set(path, Object.fromEntries(pairs))
    }
  }
  return found
}

/** Converts a time such as `2m` to seconds. */
export function seconds(time: string | undefined): number {
  const [, amount, unit] = /^(\d+)(ms|s|m)$/.exec(time ?? '') ?? []
  assert.isDefined(amount, `${time} is a time`)
  return Number(amount) * { ms: 0.001, s: 1, m: 60 }[unit as 'ms' | 's' | 'm']
}
