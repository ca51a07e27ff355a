/**
 * The directory of a journal: is it one, is it whole, and is it ours alone?
 */
import { closeSync, mkdirSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { HoldfastError } from '@holdfast/shared'
import { damaged } from './record.js'

const dataFile = 'data.mdb'

/**
 * Where LMDB keeps what we look at, in a meta page; there are two of them, the newer one counts.
 */
const meta = { bytes: 168, magicAt: 24, pageSizeAt: 48, lastPageAt: 144, transactionAt: 152 }
const magic = 0xbeefc0de

/**
 * Makes the directory if need be, and refuses what is not a journal.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for something else than a journal, `UNAVAILABLE` for a
 *   damaged one.
 */
export function prepareDirectory(path: string): void {
  let names: string[]
  try {
    mkdirSync(path, { recursive: true })
    names = readdirSync(path)
  } catch (cause) {
    throw unusable(path, 'cannot be used as a directory', cause)
  }
  if (names.includes(dataFile)) checkSize(join(path, dataFile))
  else if (names.length > 0) throw unusable(path, 'has other things in it and is not a journal')
}

/**
 * LMDB maps its file into memory and trusts its length: reading beyond the end of one that was cut
 * short would kill the process. So the length is checked first.
 */
function checkSize(path: string): void {
  const { size } = statSync(path)
  const file = openSync(path, 'r')
  const head = Buffer.alloc(meta.bytes)
  let newest: { transaction: bigint; bytes: bigint } | undefined
  try {
    let pageSize = 0
    for (const page of [0, 1]) {
      if (readSync(file, head, 0, meta.bytes, page * pageSize) < meta.bytes) break
      if (head.readUInt32LE(meta.magicAt) !== magic) {
        throw damaged(`${path} is not a database`)
      }
      pageSize = head.readUInt32LE(meta.pageSizeAt)
      const transaction = head.readBigUInt64LE(meta.transactionAt)
      const bytes = (head.readBigUInt64LE(meta.lastPageAt) + 1n) * BigInt(pageSize)
      if (newest === undefined || transaction > newest.transaction) newest = { transaction, bytes }
    }
  } finally {
    closeSync(file)
  }
  if (newest === undefined || BigInt(size) < newest.bytes) throw damaged(`${path} was cut short`)
}

/**
 * Makes the directory this process's own until the returned server is closed or the process ends,
 * however it ends: the lock is a socket, which the kernel takes back.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if another process has it.
 */
export async function lockDirectory(path: string): Promise<Server> {
  const { dev, ino } = statSync(path)
  // An abstract name on Linux, which no crash leaves behind; elsewhere the nearest thing to it.
  const name = `holdfast-journal-${dev}-${ino}`
  const address =
    process.platform === 'linux'
      ? `\0${name}`
      : process.platform === 'win32'
        ? `\\\\.\\pipe\\${name}`
        : join(path, 'owner.sock')
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(unusable(path, 'is in use by another process', cause, 'UNAVAILABLE')),
    )
    server.listen(address, resolve)
  })
  server.unref()
  return server
}

function unusable(
  path: string,
  why: string,
  cause?: unknown,
  code: 'INVALID_OPTION' | 'UNAVAILABLE' = 'INVALID_OPTION',
): HoldfastError {
  return new HoldfastError(code, `The journal directory ${path} ${why}.`, { cause })
}
