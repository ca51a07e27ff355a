/**
 * From flags, variables and a config file to settings. A flag wins over a variable, a variable over
 * the file, the file over the default; a name that does not exist is refused with the nearest one
 * that does.
 */
import { readFileSync } from 'node:fs'
import { maxMs, nearest } from '@holdfast/shared'
import { type BrokerLimits, type LimitName, limitFault, limitNames, off } from '../config/limits.js'
import { Exit, exitCodes } from './exitCodes.js'
import { duration } from './parse.js'
import {
  defaults,
  flagOf,
  type Setting,
  type SettingName,
  type Settings,
  settingNames,
  settings,
  variableOf,
} from './settings.js'

export interface LoadedSettings {
  readonly settings: Settings
  /** Of each that is not as by default: where it is from, as a person says it. */
  readonly sources: ReadonlyMap<SettingName, string>
}

/** Puts flags, variables and file together. @throws {Exit} 78 with what is wrong, and where. */
export function loadSettings(
  flags: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv,
  file: string | undefined,
): LoadedSettings {
  const sources = new Map<SettingName, string>()
  const values: Record<string, unknown> = { ...defaults }
  const take = (found: Readonly<Record<string, unknown>>, sourceOf: (name: string) => string) => {
    for (const name of settingNames) {
      const value = found[name]
      if (value === undefined) continue
      // Limits add up: a flag for one leaves those of the file.
      values[name] =
        name === 'limits' ? { ...(values[name] as object), ...(value as object) } : value
      sources.set(name, sourceOf(name))
    }
  }
  if (file !== undefined) take(fromFile(file), () => file)
  take(fromEnvironment(env), variableOf)
  for (const name of ['port', 'adminPort'] as const) {
    if (flags[name] !== undefined) checked(name, flags[name], `--${flagOf(name)}`)
  }
  take(flags, () => 'a flag')
  return { settings: values as Settings, sources }
}

/** Variables that are not settings of a broker. */
const otherVariables = ['CONFIG', 'URL', 'TOKEN', 'CA', 'KEY', 'FENCE'].map(
  (name) => `HOLDFAST_${name}`,
)

function fromEnvironment(env: NodeJS.ProcessEnv): Record<string, unknown> {
  const variables = settingNames.map(variableOf)
  for (const [name, value = ''] of Object.entries(env)) {
    if (!name.startsWith('HOLDFAST_') || variables.includes(name)) continue
    if (otherVariables.includes(name) || isServiceLink(name, value)) continue
    // What is far from all of ours is somebody else's, such as an orchestrator's.
    const meant = nearest(
      name.slice(9),
      variables.map((one) => one.slice(9)),
    )
    if (meant !== undefined) throw bad(`${name} is not a setting; did you mean HOLDFAST_${meant}?`)
  }
  const found: Record<string, unknown> = {}
  for (const name of settingNames) {
    const variable = variableOf(name)
    const text = env[variable]
    if (text === undefined || text === '' || isServiceLink(variable, text)) continue
    found[name] = checked(name, fromText(settings[name], text), variableOf(name))
  }
  return found
}

/**
 * Whether Kubernetes, or a link of Docker, has set a variable for a Service: of `holdfast-0` comes
 * `HOLDFAST_0_PORT=tcp://10.0.0.1:7420`, `HOLDFAST_0_PORT_7420_TCP_ADDR`, `HOLDFAST_0_SERVICE_HOST`
 * and so on. Of `holdfast` and `holdfast-admin` come names that are settings as well; what is set
 * says which of the two it is.
 */
function isServiceLink(name: string, value: string): boolean {
  if (/_SERVICE_(HOST|PORT(_\w+)?)$/.test(name)) return true
  if (/_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(name)) return true
  return name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value)
}

/** Variables are text; numbers and yes or no are spelt out in it. */
function fromText({ kind }: Setting, text: string): unknown {
  if (kind === 'list') return text.split(',').map((item) => item.trim())
  if (kind === 'limits') {
    const pairs = text.split(',').map((item) => item.trim().split('='))
    return Object.fromEntries(pairs.map(([name, value]) => [name, numberFrom(value ?? '')]))
  }
  if (kind === 'port' && /^\d+$/.test(text)) return Number(text)
  if (kind === 'yes')
    return { true: true, '1': true, yes: true, false: false, '0': false, no: false }[text] ?? text
  return text
}

function numberFrom(text: string): unknown {
  return /^\d+$/.test(text) ? Number(text) : text
}

function fromFile(path: string): Record<string, unknown> {
  let parsed: unknown
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    const why = cause instanceof SyntaxError ? 'is not JSON' : 'cannot be read'
    throw bad(`The config file ${path} ${why}: ${(cause as Error).message}`)
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw bad(`The config file ${path} is not an object, { "port": 7420 }.`)
  }
  const found: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(parsed)) {
    if (name === '$schema') continue
    if (!settingNames.includes(name as SettingName)) throw bad(unknown(name, settingNames, path))
    found[name] = checked(name as SettingName, value, `${name} in ${path}`)
  }
  return found
}

function unknown(name: string, names: readonly string[], where: string): string {
  const meant = nearest(name, names)
  const advice = meant === undefined ? `there are ${names.join(', ')}` : `did you mean ${meant}?`
  return `${JSON.stringify(name.slice(0, 64))} in ${where} is not a setting; ${advice}`
}

/** The value if it is one; else a sentence. */
function checked(name: SettingName, value: unknown, where: string): unknown {
  const { kind, choices }: Setting = settings[name]
  switch (kind) {
    case 'port':
      if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 65_535) {
        return value
      }
      throw bad(`${where} has to be a whole number from 0 to 65535, not ${brief(value)}.`)
    case 'ms':
      try {
        return duration(String(value))
      } catch {
        const range = `from 0 to ${maxMs}, such as 500 (ms), "10s" or "2m"`
        throw bad(`${where} has to be a time ${range}, not ${brief(value)}.`)
      }
    case 'yes':
      if (typeof value === 'boolean') return value
      throw bad(`${where} has to be true or false.`)
    case 'list':
      if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
      throw bad(`${where} has to be a list of texts.`)
    case 'limits':
      return limitsOf(value, where)
    case 'text':
      if (typeof value !== 'string' || value === '') throw bad(`${where} has to be a text.`)
      if (choices === undefined || choices.includes(value)) return value
      throw bad(`${where} has to be one of ${choices.join(', ')}.`)
  }
}

/** Limits by name; `"off"` is none. */
export function limitsOf(value: unknown, where: string): Partial<BrokerLimits> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw bad(`${where} has to be an object, { "helloMs": 2000 }.`)
  }
  const limits: Record<string, number> = {}
  for (const [name, given] of Object.entries(value)) {
    if (!limitNames.includes(name as LimitName)) throw bad(unknown(name, limitNames, where))
    const number: unknown = given === 'off' ? off : given
    const fault = limitFault(name as LimitName, number)
    if (fault !== undefined) throw bad(`${where}: ${fault.replace('Infinity', '"off"')}.`)
    limits[name] = number as number
  }
  return limits
}

/** A value as its setting had it; no secret is in one. */
function brief(value: unknown): string {
  return String(JSON.stringify(value)).slice(0, 64)
}

function bad(sentence: string): Exit {
  return new Exit(exitCodes.config, sentence)
}
