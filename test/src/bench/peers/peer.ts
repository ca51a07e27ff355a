/**
 * Describes a peer, which is one configuration of another lock service: how to start the server,
 * and how a client acquires a lock. The npm packages of server and client are installed in a
 * separate folder, so that they do not become dependencies of this repository.
 */
import type { LockClient } from '../load/clientPairs.js'

export interface Peer {
  /** The lock service. Peers of one service differ in the configuration of the client. */
  readonly service: string
  /** The service and its configuration, as the tables show them. */
  readonly name: string
  /** The shapes (sizes of a load) for which the peer is measured; undefined for all shapes. */
  readonly shapes?: readonly string[] | undefined
  /** The npm packages of the client and the server, each with its version. */
  readonly packages: readonly string[]
  /**
   * Whether waiting clients poll. A thousand such clients use the whole processor all the time.
   * They would slow the slices of the echo server, with which the peer is compared. So the bench
   * does not alternate between the two on a hot key.
   */
  readonly polls: boolean
  readonly server: PeerServer
  /** Connects this many clients. Runs in the load generator. */
  readonly connect: (url: string, count: number, loadPackage: LoadPackage) => Promise<LockClient[]>
}

/** Loads an installed package. The caller knows the type of the package. */
export type LoadPackage = (name: string) => unknown

/** An installed program, or JavaScript that a process of the bench runs. */
export type PeerServer = ProgramServer | ScriptServer

export interface ProgramServer {
  readonly kind: 'program'
  /** The folders that may have the program, in addition to the PATH. */
  readonly folders?: readonly string[]
  /** The program of the server. The bench skips the peer if the program is missing. */
  readonly program: string
  /** The Debian package of the program, for the message about a skipped peer. */
  readonly debianPackage: string
  /** Prepares the data folder, if the program needs that. */
  readonly prepare?: (folder: string, runProgram: RunProgram) => void
  /** The arguments of the program, for this port and this data folder. */
  readonly args: (port: number, folder: string) => readonly string[]
  /** Matches the output of a server that is ready. */
  readonly ready: RegExp
  /** The user that runs the program, if the program refuses to run as root. */
  readonly user?: string
  readonly url: (port: number) => string
}

/** Runs another program of the same Debian package, and waits for its end. */
export type RunProgram = (program: string, args: readonly string[]) => void

export interface ScriptServer {
  readonly kind: 'script'
  /** Starts the server in the process of the caller. Resolves when the server listens. */
  readonly listen: (port: number, loadPackage: LoadPackage) => Promise<void>
  readonly url: (port: number) => string
}
