/**
 * The one place where the command writes to standard output and standard error. What was written
 * arrives whole, or the command ends with an error: a full disk must not look like success.
 */
import { fstatSync, writeSync } from 'node:fs'

/** Writes this text as it stands; it must be safe for a terminal already. */
export function writeOut(text: string): void {
  if (isDirect(process.stdout)) writeWhole(process.stdout, text)
  else process.stdout.write(text)
}

/** Resolves when the text was handed to the operating system, and rejects when that failed. */
export function deliver(stream: Stdio, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    if (isDirect(stream)) {
      writeAllSync(stream.fd, text)
      resolve()
    } else stream.write(text, (error) => (error == null ? resolve() : reject(error)))
  })
}

/** Writes to standard error. An error there is ignored, because there is no place to report it. */
export function writeError(text: string): void {
  process.stderr.write(text)
}

/** Calls the listener with the first error of standard output, such as EPIPE or ENOSPC. */
export function onOutputFailure(listener: (error: NodeJS.ErrnoException) => void): void {
  process.stdout.once('error', listener)
}

type Stdio = NodeJS.WriteStream & { readonly fd: number }

/**
 * Whether the stream is a file or a device that is no terminal. Node's own stream ignores there how
 * much of a text was written, and a nearly full disk takes a part without an error.
 */
function isDirect(stream: Stdio): boolean {
  let known = direct.get(stream)
  if (known === undefined) {
    known = isFileOrDevice(stream)
    direct.set(stream, known)
  }
  return known
}

const direct = new WeakMap<Stdio, boolean>()

function isFileOrDevice({ fd, isTTY }: Stdio): boolean {
  try {
    const stat = fstatSync(fd)
    return stat.isFile() || (stat.isCharacterDevice() && !isTTY)
  } catch {
    return false
  }
}

function writeWhole(stream: Stdio, text: string): void {
  try {
    writeAllSync(stream.fd, text)
  } catch (error) {
    stream.emit('error', error)
  }
}

function writeAllSync(fd: number, text: string): void {
  let rest: Uint8Array = Buffer.from(text)
  while (rest.length > 0) rest = rest.subarray(writeSync(fd, rest))
}
