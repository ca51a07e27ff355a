/** Starts the server of a peer (another lock service), if this machine has the server's program. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Peer, ProgramServer, RunProgram } from '../peers/peer.js'
import { pinned, type Server, serverCore, startServer } from './servers.js'

const peerServerScript = fileURLToPath(new URL('./peerServer.js', import.meta.url))

/** The folder that has the program of a server; undefined if no folder has the program. */
function folderOf({ program, folders = [] }: ProgramServer): string | undefined {
  const pathFolders = (process.env['PATH'] ?? '').split(':')
  return [...folders, ...pathFolders].find((folder) => existsSync(join(folder, program)))
}

/** Why this machine cannot start the server of a peer; undefined if the machine can start it. */
export function reasonToSkip({ service, server }: Peer): string | undefined {
  if (server.kind === 'script' || folderOf(server) !== undefined) return undefined
  return `${service} is skipped because ${server.program} is missing: install the package ${server.debianPackage}`
}

/** The versions of the server and of the packages of a peer. The server must be installed. */
export function versionsOf({ server, packages }: Peer): string[] {
  if (server.kind === 'script') return [...packages]
  const program = join(folderOf(server)!, server.program)
  const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' })
  const version = /\d+(\.\d+)+/.exec(stdout ?? '')?.[0] ?? 'of unknown version'
  return [`${server.program} ${version}`, ...packages]
}

/** Starts the server of a peer on a free port, with an empty data folder. */
export async function startPeer(peer: Peer): Promise<Server> {
  const port = await freePort()
  const { server } = peer
  const url = server.url(port)
  if (server.kind === 'script') {
    const args = [peerServerScript, peer.name, String(port)]
    return startServer(pinned(serverCore, process.execPath, args), { ready: /^ready$/, url })
  }
  // Some servers refuse to run as root, and name the user that runs them instead.
  const user = isRoot() && server.user !== undefined ? idsOf(server.user) : undefined
  const dataFolder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
  if (user !== undefined) chownSync(dataFolder, user.uid, user.gid)
  const programFolder = folderOf(server)!
  const runProgram: RunProgram = (program, args) => {
    execFileSync(join(programFolder, program), args, { stdio: 'ignore', cwd: dataFolder, ...user })
  }
  server.prepare?.(dataFolder, runProgram)
  const command = pinned(
    serverCore,
    join(programFolder, server.program),
    server.args(port, dataFolder),
  )
  const cleanUp = (): void => rmSync(dataFolder, { recursive: true, force: true })
  return startServer(command, {
    ready: server.ready,
    url,
    cwd: dataFolder,
    ...user,
    onExit: cleanUp,
  })
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

/** The ids of a user and of its group on this machine. */
function idsOf(user: string): { uid: number; gid: number } {
  const id = (flag: string): number =>
    Number(spawnSync('id', [flag, user], { encoding: 'utf8' }).stdout)
  return { uid: id('-u'), gid: id('-g') }
}

/** A port that no program uses. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => resolve(port))
    })
  })
}
