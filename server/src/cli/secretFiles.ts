/**
 * Warns about a file with a secret (a token, a password or a private key) that other users of the
 * machine can access. Holdfast still uses this file, because an operator may have a reason for the
 * mode of the file.
 */
import { type Stats, statSync } from 'node:fs'
import { printError } from './exitCodes.js'
import { readText } from './parse.js'
import { type Setting, type Settings, settingNames, settings } from './settings.js'

/** The files about which this process has warned, so that each file causes only one warning. */
const warnedPaths = new Set<string>()

/**
 * Like {@link readText}, for a file that contains a secret. Warns on standard error if other users
 * can access the file.
 *
 * @param kind What the messages call the file, such as "token file".
 * @throws {Exit} 78 if the file cannot be read.
 */
export function readSecret(path: string, kind: string): string {
  const text = readText(path, kind)
  warnIfAccessible(path, kind)
  return text
}

/**
 * Warns on standard error about each secret file in the settings of `holdfast serve` that other
 * users can access.
 */
export function warnOfAccessibleFiles(givenSettings: Settings): void {
  for (const name of settingNames) {
    const { secretFile }: Setting = settings[name]
    const path = givenSettings[name]
    if (secretFile !== undefined && typeof path === 'string') warnIfAccessible(path, secretFile)
  }
}

/**
 * Prints a warning on standard error if users other than the user of this process can access the
 * file. Prints nothing for a missing file, because the code that reads the file reports this error.
 * Prints nothing on Windows, because modes there do not show who can access a file.
 */
function warnIfAccessible(path: string, kind: string): void {
  if (process.platform === 'win32' || warnedPaths.has(path)) return
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined || !isAccessibleToOthers(stat, process.getuid?.())) return
  warnedPaths.add(path)
  // 0o7777 leaves out the bits for the type of the file.
  const mode = (stat.mode & 0o7777).toString(8).padStart(4, '0')
  printError(
    `Warning: other users of this machine can access the ${kind} ${path} (mode ${mode}): ` +
      'let only the user of this process access the file, for instance with chmod 600',
  )
}

/**
 * Whether the mode of a file lets other users access the file. Only regular files count, because a
 * pipe such as `/dev/fd/63` has no name that other users could open.
 *
 * The right of the group to read does not count if root owns the file and this process runs as
 * another user. Kubernetes, systemd and Debian give keys to services in this way.
 *
 * @param userId The id of the user of the process.
 */
export function isAccessibleToOthers(
  stat: Pick<Stats, 'mode' | 'uid' | 'isFile'>,
  userId: number | undefined,
): boolean {
  if (!stat.isFile()) return false
  // 0o077 is every right of the group and of others. 0o037 lacks the right of the group to read.
  const mayGroupRead = stat.uid === 0 && userId !== 0
  return (stat.mode & (mayGroupRead ? 0o037 : 0o077)) !== 0
}
