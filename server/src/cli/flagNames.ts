/**
 * Translates the names of options in error messages to flags. The broker and the client name their
 * options as in code, such as `logPasswordFile`. The user of the command must type
 * `--log-password-file` instead.
 */
import { flagOf, placeholderOf, settingNames } from './settings.js'

/** How a message names one option: by one flag, or by several flags joined by "and". */
interface FlagText {
  readonly flags: string
  /** The flags with a placeholder for each value, as in `--tokens FILE`. */
  readonly withValue: string
}

/**
 * The options whose names differ from the settings of `holdfast serve` (`settings.ts`), each with
 * the names of its settings.
 */
const settingsByOption = {
  // Options of the broker.
  authenticate: ['tokens'],
  'jwt.algorithms': ['jwtAlgorithms'],
  'jwt.jwks': ['jwtJwks'],
  'jwt.jwksUrl': ['jwtJwksUrl'],
  'jwt.publicKey': ['jwtPublicKey'],
  'jwt.secret': ['jwtSecretFile'],
  'lease.default': ['leaseDefault'],
  'lease.max': ['leaseMax'],
  'lease.min': ['leaseMin'],
  tls: ['tlsCert', 'tlsKey'],
  // Options of a shared log, `etcdLog` or `postgresLog`.
  auth: ['logUser', 'logPasswordFile'],
  deadMs: ['deadTime'],
  password: ['logPasswordFile'],
  snapshotMs: ['snapshotEvery'],
  'tls.ca': ['logCa'],
  'tls.cert': ['logCert'],
  'tls.key': ['logKey'],
  user: ['logUser'],
} as const

/** The options of the client that have a flag, with the placeholder for their value. */
const clientFlags = {
  ca: ['--ca', 'FILE'],
  capacity: ['--capacity', 'N'],
  grace: ['--grace', 'TIME'],
  keep: ['--keep', 'TIME'],
  lease: ['--lease', 'TIME'],
  maxHold: ['--max-hold', 'TIME'],
  permits: ['--permits', 'N'],
  timeout: ['--timeout', 'TIME'],
  token: ['--token-file', 'FILE'],
} as const

const flagsByOption: ReadonlyMap<string, FlagText> = new Map<string, FlagText>([
  ...Object.entries(clientFlags).map(([option, [flag, placeholder]]): [string, FlagText] => [
    option,
    { flags: flag, withValue: `${flag} ${placeholder}` },
  ]),
  ...settingNames.map((name): [string, FlagText] => [name, flagsOf([name])]),
  ...Object.entries(settingsByOption).map(([option, names]): [string, FlagText] => [
    option,
    flagsOf(names),
  ]),
])

function flagsOf(names: readonly (typeof settingNames)[number][]): FlagText {
  const flags = names.map((name) => `--${flagOf(name)}`)
  const placeholders = names.map((name) => placeholderOf(name)?.toUpperCase() ?? '')
  const withValues = flags.map((flag, i) => `${flag} ${placeholders[i]}`.trim())
  return { flags: flags.join(' and '), withValue: withValues.join(' and ') }
}

/** A text in double quotes, which shows a value of the user and is therefore never translated. */
const quoted = /"(?:[^"\\]|\\.)*"/
/** A name in backquotes. In messages, a name that is also a plain word is in backquotes. */
const inBackquotes = /`([\w.]+)`/
/** The name of an option as the first word of a message, such as "lease must be". */
const atBeginning = /^([\w.]+)(?= must )/
/** A name with a capital letter or a dot inside. Parts of paths, flags and calls do not match. */
const unmistakable = /(?<![\w./-])([a-z]+(?:[A-Z]\w*|\.[a-zA-Z]+))(?![\w(/=-]|\.\w)/
const namePattern = new RegExp(
  [quoted, inBackquotes, atBeginning, unmistakable].map(({ source }) => source).join('|'),
  'g',
)

/**
 * Replaces the names of options in a message by flags. In advice that says what to set, each flag
 * has a placeholder for its value.
 */
export function withFlags(message: string): string {
  // Advice follows a colon or a semicolon and has the word "set", as in "…: set only one of them".
  const adviceStart = /[:;] (?:[^:;]*\b)?set /.exec(message)?.index ?? message.length
  return message.replace(namePattern, (text: string, ...rest: unknown[]) => {
    // `rest` begins with three groups and the offset of the match. Each part of the pattern has one
    // group, except `quoted`, so no group matches for a text in double quotes.
    const option = rest.slice(0, 3).find((group) => group !== undefined) as string | undefined
    const index = rest[3] as number
    const limitName = /^limits\.(\w+)$/.exec(option ?? '')?.[1]
    if (limitName !== undefined) return `--limit ${limitName}`
    const flagText = option === undefined ? undefined : flagsByOption.get(option)
    if (flagText === undefined) return text
    return index > adviceStart ? flagText.withValue : flagText.flags
  })
}
