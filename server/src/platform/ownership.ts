/**
 * What one process has to itself, such as the folder of a journal or a fence file, until it gives
 * it back or ends, however it ends: the lock is something that the kernel takes back.
 *
 * All of it is synchronous, so that a broker is refused before it serves anybody.
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

/** Whoever has something to itself. */
export interface Owner {
  close(): void
}

/**
 * Takes a name, which no other process on this machine can take as long as this one has it, nor
 * this one again. On Linux each network namespace has its own names, and so each container; see
 * {@link claimAcrossContainers}.
 *
 * @param lockFile Locked where there are no names for it: on Darwin and the BSDs.
 * @returns Undefined if the name is taken.
 */
export function claim(name: string, lockFile: string): Owner | undefined {
  // Names of sockets that are in no file system, so no crash leaves one behind.
  if (process.platform === 'linux') return listenOn(`\0${name}`)
  if (process.platform === 'win32') return listenOn(`\\\\.\\pipe\\${name}`)
  // Darwin and the BSDs lock what they open; Node has no name for that flag.
  const exclusively = 0x20
  const { O_RDWR, O_CREAT, O_NONBLOCK, O_NOFOLLOW } = constants
  const flags = O_RDWR | O_CREAT | O_NONBLOCK | O_NOFOLLOW | exclusively
  try {
    const file = openSync(lockFile, flags, 0o600)
    return { close: () => closeSync(file) }
  } catch (error) {
    if (['EAGAIN', 'EWOULDBLOCK'].includes((error as NodeJS.ErrnoException).code ?? '')) {
      return undefined
    }
    throw error
  }
}

const prober = fileURLToPath(new URL('./probingOwner.js', import.meta.url))
/** With this code the prober says that it reached a process. */
export const aliveCode = 100

/**
 * Keeps out processes in other containers, which share the disk and the kernel, but no names: each
 * container has a socket in the folder, and those of the others are asked whether a process is
 * behind them. The own socket is there before the others are asked, so of two that come at once at
 * least one sees the other.
 *
 * Only on Linux; and only where the file system has sockets, as all local ones do.
 *
 * @param folder Where the sockets are.
 * @param stem What their names begin with. {@link claim} has a name for it, so that a socket of
 *   this container that is there already is that of a dead process.
 * @returns Undefined if another process is there.
 */
export function claimAcrossContainers(folder: string, stem: string): Owner | undefined {
  if (process.platform !== 'linux') return { close: () => {} }
  const network = statSync('/proc/self/ns/net').ino
  const own = `${stem}.${network}.lock`
  const directory = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    removeSocket(join(folder, own))
    // By a path that is short enough for a socket, however deep the folder is.
    const owner = listenOn(`/proc/self/fd/${directory}/${own}`)
    const others = readdirSync(folder).filter((name) => name !== own && isLock(name, stem))
    if (others.some((name) => isAlive(folder, name))) {
      owner?.close()
      return undefined
    }
    return {
      close: () => {
        owner?.close()
        closeSync(directory)
      },
    }
  } catch (error) {
    closeSync(directory)
    throw error
  }
}

function isLock(name: string, stem: string): boolean {
  return name.startsWith(`${stem}.`) && /^\d+\.lock$/.test(name.slice(stem.length + 1))
}

/** Whether a process listens on a socket; removes it if none does. */
function isAlive(folder: string, name: string): boolean {
  const path = join(folder, name)
  const before = socketAt(path)
  if (before === undefined) return false
  const env = { ...process.env, NODE_OPTIONS: '', ELECTRON_RUN_AS_NODE: '1' }
  const options = { cwd: folder, env, stdio: 'ignore', windowsHide: true } as const
  const { status } = spawnSync(process.execPath, [prober, name], options)
  // Anything but a clear no is a yes.
  if (status !== 0) return true
  // Unless a new process of that container has put another one there meanwhile.
  const after = socketAt(path)
  if (after?.ino === before.ino && after.ctimeMs === before.ctimeMs) removeSocket(path)
  return false
}

function socketAt(path: string): Stats | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false })
  return found?.isSocket() ? found : undefined
}

function removeSocket(path: string): void {
  if (socketAt(path) !== undefined) unlinkSync(path)
}

/** Node binds to a path before `listen` returns, and says later what was wrong with it. */
function listenOn(path: string): Owner | undefined {
  const server: Server = createServer((socket) => socket.destroy())
  server.on('error', () => {})
  // Exclusively, or the workers of a cluster would share the socket, and all would be owners.
  server.listen({ path, exclusive: true })
  return server.listening ? server.unref() : undefined
}
