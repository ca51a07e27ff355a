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
   * Whether waiting clients poll. Such clients are never idle, and a thousand of them use the whole
   * processor. So the bench cannot alternate between the peer and the echo server, with which the
   * peer is compared.
   */
  readonly polls: boolean
  readonly server: PeerServer
  /** Connects this many clients with one connection each. Runs in the load generator. */
  readonly connect: (url: string, count: number, load: LoadPackage) => Promise<LockClient[]>
}

/** Loads an installed package. The caller knows the type of the package. */
export type LoadPackage = (name: string) => unknown

/** A program of the system, or JavaScript that a process of the bench runs. */
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
  readonly prepare?: (folder: string, run: RunProgram) => void
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
  readonly listen: (port: number, load: LoadPackage) => Promise<void>
  readonly url: (port: number) => string
}
