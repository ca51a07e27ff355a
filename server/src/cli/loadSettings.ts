/**
 * Loads the settings of `holdfast serve` from flags, environment variables and a config file. A
 * flag overrides a variable, a variable overrides the file, and the file overrides the default. An
 * unknown name in the file is refused. An unknown variable is refused if its name resembles a
 * setting, and is ignored otherwise. The error suggests the most similar known name.
 */
import { readFileSync } from 'node:fs'
import { nearestName } from '@holdfast/shared'
import { type BrokerLimits, type LimitName, limitFault, limitNames, off } from '../config/limits.js'
import { Exit, exitCodes } from './exitCodes.js'
import { parseDuration } from './parse.js'
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
  /**
   * The source of each setting that was given: "a flag", the name of a variable, or the path of the
   * file.
   */
  readonly sources: ReadonlyMap<SettingName, string>
}

/**
 * Loads the settings.
 *
 * @param file The path of the config file; undefined for none.
 * @throws {Exit} 78 if a setting is unknown or invalid; the message has the source of the setting.
 */
export function loadSettings(
  flags: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv,
  file: string | undefined,
): LoadedSettings {
  const sources = new Map<SettingName, string>()
  const values: Record<string, unknown> = { ...defaults }
  const merge = (
    givenValues: Readonly<Record<string, unknown>>,
    sourceOf: (name: string) => string,
  ) => {
    for (const name of settingNames) {
      const value = givenValues[name]
      if (value === undefined) continue
      // Merge limits one by one, so that a flag for one limit does not drop the limits of the file.
      values[name] =
        name === 'limits' ? { ...(values[name] as object), ...(value as object) } : value
      sources.set(name, sourceOf(name))
    }
  }
  if (file !== undefined) merge(fromFile(file), () => file)
  merge(fromEnvironment(env), variableOf)
  // The parser of the command line accepts every whole number, so check the range of ports here.
  for (const name of ['port', 'adminPort'] as const) {
    if (flags[name] !== undefined) checkedValue(name, flags[name], `--${flagOf(name)}`)
  }
  merge(flags, () => 'a flag')
  return { settings: values as Settings, sources }
}

const variablePrefix = 'HOLDFAST_'

/** An error message shows at most this many characters of a value or of an unknown name. */
const maxShownLength = 64

/** Variables with this prefix that are not settings of `serve`. */
const otherVariables = ['CONFIG', 'URL', 'CELLS', 'TOKEN', 'CA', 'KEY', 'FENCE'].map(
  (name) => `${variablePrefix}${name}`,
)

/**
 * A variable counts as misspelt if at most this many edits turn its name into a setting. For long
 * names, `nearestName` allows more edits. With a minimum of 2, unrelated short names, such as FULL
 * and CELL, would count as misspelt.
 */
const minAllowedEdits = 1

/** The settings in the variables. @throws {Exit} 78 if a variable is invalid or misspelt. */
function fromEnvironment(env: NodeJS.ProcessEnv): Record<string, unknown> {
  const variables = settingNames.map(variableOf)
  for (const [name, value = ''] of Object.entries(env)) {
    if (!name.startsWith(variablePrefix) || variables.includes(name)) continue
    if (otherVariables.includes(name) || isServiceLink(name, value)) continue
    // A variable whose name resembles no setting is ignored, because another program, such as an
    // orchestrator, may have set the variable.
    const suggestion = nearestName(
      name.slice(variablePrefix.length),
      variables.map((variable) => variable.slice(variablePrefix.length)),
      minAllowedEdits,
    )
    if (suggestion !== undefined) {
      throw invalidSetting(`${name} is not a setting: did you mean ${variablePrefix}${suggestion}?`)
    }
  }
  const values: Record<string, unknown> = {}
  for (const name of settingNames) {
    const variable = variableOf(name)
    const text = env[variable]
    if (text === undefined || text === '' || isServiceLink(variable, text)) continue
    values[name] = checkedValue(name, fromText(settings[name], text), variable)
  }
  return values
}

/**
 * Whether Kubernetes, or a link between containers in Docker, set this variable. For the Service
 * `holdfast-0` the variables are `HOLDFAST_0_PORT=tcp://10.0.0.1:7420`,
 * `HOLDFAST_0_PORT_7420_TCP_ADDR`, `HOLDFAST_0_SERVICE_HOST` and so on. For the Services `holdfast`
 * and `holdfast-admin`, the variables `HOLDFAST_PORT` and `HOLDFAST_ADMIN_PORT` have the name of a
 * setting. For these two names, the value shows whether Kubernetes or Docker set the variable.
 */
function isServiceLink(name: string, value: string): boolean {
  if (/_SERVICE_(HOST|PORT(_\w+)?)$/.test(name)) return true
  if (/_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(name)) return true
  return name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value)
}

/** The texts of a boolean variable. A `Map`, because an object also has inherited names. */
const booleans: ReadonlyMap<string, boolean> = new Map([
  ...['true', '1', 'yes'].map((text) => [text, true] as const),
  ...['false', '0', 'no'].map((text) => [text, false] as const),
])

/**
 * Converts the text of a variable to a value of the kind of its setting. If the text does not fit
 * the kind, returns the text unchanged, so that `checkedValue` refuses the text.
 */
function fromText({ kind }: Setting, text: string): unknown {
  if (kind === 'list') return text.split(',').map((item) => item.trim())
  if (kind === 'limits') {
    const pairs = text.split(',').map((item) => item.trim().split('='))
    return Object.fromEntries(pairs.map(([name, value]) => [name, numberFrom(value ?? '')]))
  }
  if (kind === 'port' && /^\d+$/.test(text)) return Number(text)
  if (kind === 'boolean') return booleans.get(text) ?? text
  return text
}

/**
 * Converts a text of digits to its number. Returns every other text unchanged: `limitsOf` accepts
 * the text "off", and refuses all others.
 */
function numberFrom(text: string): unknown {
  return /^\d+$/.test(text) ? Number(text) : text
}

/** The settings in a config file. @throws {Exit} 78 if the file cannot be read or is invalid. */
function fromFile(path: string): Record<string, unknown> {
  let parsed: unknown
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    const problem = cause instanceof SyntaxError ? 'is not JSON' : 'cannot be read'
    throw invalidSetting(`The config file ${path} ${problem}: ${(cause as Error).message}`)
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw invalidSetting(`The config file ${path} must be an object such as { "port": 7420 }`)
  }
  const values: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(parsed)) {
    if (name === '$schema') continue
    if (!settingNames.includes(name as SettingName)) {
      throw invalidSetting(unknownName(name, settingNames, path))
    }
    values[name] = checkedValue(name as SettingName, value, `${name} in ${path}`)
  }
  return values
}

/** The message for an unknown name, with the most similar known name. */
function unknownName(name: string, names: readonly string[], source: string): string {
  const suggestion = nearestName(name, names)
  const advice =
    suggestion === undefined
      ? `the settings are ${names.join(', ')}`
      : `did you mean ${suggestion}?`
  return `${JSON.stringify(name.slice(0, maxShownLength))} in ${source} is not a setting: ${advice}`
}

/**
 * Checks the value of a setting and returns the value; durations are returned in ms.
 *
 * @param label The name of the setting in the error message, such as "--port".
 * @throws {Exit} 78 if the value is invalid.
 */
function checkedValue(name: SettingName, value: unknown, label: string): unknown {
  const { kind, choices }: Setting = settings[name]
  switch (kind) {
    case 'port':
      if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 65_535) {
        return value
      }
      throw invalidSetting(
        `${label} must be a whole number from 0 to 65535, not ${shortJson(value)}`,
      )
    case 'ms':
      try {
        return parseDuration(String(value))
      } catch (error) {
        // The parser writes a sentence for commander: "It must be …." Here the label replaces the
        // word "It", and the message has no full stop.
        const problem = (error as Error).message.replace(/^It /, '').replace(/\.$/, '')
        throw invalidSetting(`${label} ${problem}, not ${shortJson(value)}`)
      }
    case 'boolean':
      if (typeof value === 'boolean') return value
      throw invalidSetting(`${label} must be true or false, not ${shortJson(value)}`)
    case 'list':
      if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
      throw invalidSetting(`${label} must be a list of texts, not ${shortJson(value)}`)
    case 'limits':
      return limitsOf(value, label)
    case 'text':
      if (typeof value !== 'string' || value === '') {
        throw invalidSetting(`${label} must be a text that is not empty, not ${shortJson(value)}`)
      }
      if (choices === undefined || choices.includes(value)) return value
      throw invalidSetting(`${label} must be one of ${choices.join(', ')}, not ${shortJson(value)}`)
  }
}

/**
 * Checks an object that has limits by name. The value `"off"` turns a limit off.
 *
 * @throws {Exit} 78 if a name is unknown or a value is invalid.
 */
export function limitsOf(value: unknown, label: string): Partial<BrokerLimits> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidSetting(
      `${label} must be an object such as { "helloMs": 2000 }, not ${shortJson(value)}`,
    )
  }
  const limits: Record<string, number> = {}
  for (const [name, givenLimit] of Object.entries(value)) {
    if (!limitNames.includes(name as LimitName)) {
      throw invalidSetting(unknownName(name, limitNames, label))
    }
    const limit: unknown = givenLimit === 'off' ? off : givenLimit
    const fault = limitFault(name as LimitName, limit)
    // The message says Infinity, which only code can pass. The user must write "off" instead.
    if (fault !== undefined) throw invalidSetting(`${label}: ${fault.replace('Infinity', '"off"')}`)
    limits[name] = limit as number
  }
  return limits
}

/**
 * The beginning of a value as JSON. The value may be shown, because no setting is a secret: a
 * setting only names the file that has the secret.
 */
function shortJson(value: unknown): string {
  return String(JSON.stringify(value)).slice(0, maxShownLength)
}

function invalidSetting(message: string): Exit {
  return new Exit(exitCodes.config, message)
}
