/**
 * Claims a resource for this process. A resource is, for example, the folder of a journal or the
 * file in which a broker reserves the numbers of grants. The kernel releases the claim when the
 * process ends, even after a crash.
 *
 * All functions are synchronous, so that `createBroker` can throw before the broker serves a
 * client.
 */
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  type Stats,
  statSync,
  unlinkSync,
} from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A claim. `close` releases the claim. */
export interface OwnershipHandle {
  close(): void
}

/**
 * Claims the name of a socket (Linux) or of a pipe (Windows) that identifies the resource. While
 * the name is claimed, no process on this machine can claim the name again, not even this process.
 * On Linux each network namespace, and thus each container, has its own names; see
 * {@link claimAcrossContainers}.
 *
 * @param lockFile The file to lock on Darwin and the BSDs, where every name of a socket is a file.
 * @returns Undefined if the name is claimed already.
 */
export function claim(name: string, lockFile: string): OwnershipHandle | undefined {
  // On Linux and Windows these names are no files, so a crash leaves no file behind.
  // A name that begins with a zero byte is in the abstract namespace of Linux.
  if (process.platform === 'linux') return listenOn(`\0${name}`)
  if (process.platform === 'win32') return listenOn(`\\\\.\\pipe\\${name}`)
  // Darwin and the BSDs can lock a file when they open the file. Node has no constant for the flag
  // `O_EXLOCK`.
  const exclusiveLockFlag = 0x20
  const { O_RDWR, O_CREAT, O_NONBLOCK, O_NOFOLLOW } = constants
  const flags = O_RDWR | O_CREAT | O_NONBLOCK | O_NOFOLLOW | exclusiveLockFlag
  try {
    // Only the user of this process may open the file (0o600).
    const file = openSync(lockFile, flags, 0o600)
    return { close: () => closeSync(file) }
  } catch (error) {
    if (['EAGAIN', 'EWOULDBLOCK'].includes((error as NodeJS.ErrnoException).code ?? '')) {
      return undefined
    }
    throw error
  }
}

const probeProgram = fileURLToPath(new URL('./socketProbe.js', import.meta.url))
/** The exit code of the probing process if it reached a live process. */
export const aliveExitCode = 100

/**
 * Claims a folder against processes in other containers that share the kernel and the disk. Each
 * container has a socket in the folder. This function creates its own socket and then connects to
 * the other sockets, to find out whether their processes are alive. If two processes call this
 * function at the same time, at least one of the two processes finds the other.
 *
 * Works on Linux only, and needs a file system that supports sockets, as all local file systems do.
 *
 * @param folder The folder. The sockets are in this folder too.
 * @param stem The beginning of the socket names. Claims with different stems do not exclude each
 *   other. The caller must have claimed a name for this stem by {@link claim}. Then no other live
 *   process of this container uses the stem, so an existing socket of this container was left by a
 *   dead process.
 * @returns Undefined if another process is alive.
 */
export function claimAcrossContainers(folder: string, stem: string): OwnershipHandle | undefined {
  if (process.platform !== 'linux') return { close: () => {} }
  // The number of the network namespace, which differs between containers.
  const network = statSync('/proc/self/ns/net').ino
  const ownName = `${stem}.${network}.lock`
  const folderDescriptor = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  let ownSocket: OwnershipHandle | undefined
  const close = (): void => {
    ownSocket?.close()
    closeSync(folderDescriptor)
  }
  let isClaimed = false
  try {
    removeSocket(join(folder, ownName))
    // The path of a socket must be short. A path through `/proc` is short even for a deep folder.
    ownSocket = listenOn(`/proc/self/fd/${folderDescriptor}/${ownName}`)
    const otherNames = readdirSync(folder).filter(
      (name) => name !== ownName && isSocketName(name, stem),
    )
    isClaimed = !otherNames.some((name) => isAlive(folder, name))
    return isClaimed ? { close } : undefined
  } finally {
    if (!isClaimed) close()
  }
}

function isSocketName(name: string, stem: string): boolean {
  return name.startsWith(`${stem}.`) && /^\d+\.lock$/.test(name.slice(stem.length + 1))
}

/** Whether a process listens on a socket. Removes the socket of a dead process. */
function isAlive(folder: string, name: string): boolean {
  const path = join(folder, name)
  const statBefore = socketAt(path)
  if (statBefore === undefined) return false
  // Options of this process, such as `--inspect`, must not affect the probe. Electron works like
  // Node only with `ELECTRON_RUN_AS_NODE`.
  const env = { ...process.env, NODE_OPTIONS: '', ELECTRON_RUN_AS_NODE: '1' }
  const options = { cwd: folder, env, stdio: 'ignore', windowsHide: true } as const
  const { status } = spawnSync(process.execPath, [probeProgram, name], options)
  // The probing process exits with 0 only if no process listens on the socket. Any other status is
  // `aliveExitCode`, or an error of the probe, after which the process may be alive.
  if (status !== 0) return true
  // If a new process of the other container has replaced the socket during the probe, keep the new
  // socket. The new process finds the socket of this process, and then gives up its claim.
  const statAfter = socketAt(path)
  if (statAfter?.ino === statBefore.ino && statAfter.ctimeMs === statBefore.ctimeMs) {
    removeSocket(path)
  }
  return false
}

function socketAt(path: string): Stats | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat?.isSocket() ? stat : undefined
}

function removeSocket(path: string): void {
  if (socketAt(path) !== undefined) unlinkSync(path)
}

/**
 * Listens on a path; undefined if Node cannot bind the path. Node binds before `listen` returns, so
 * `listening` is right immediately. Node emits the error later.
 */
function listenOn(path: string): OwnershipHandle | undefined {
  const server: Server = createServer((socket) => socket.destroy())
  server.on('error', () => {})
  // Without `exclusive`, all workers of a Node cluster would share the socket.
  server.listen({ path, exclusive: true })
  // `unref` lets the process end although the claim lasts.
  return server.listening ? server.unref() : undefined
}
