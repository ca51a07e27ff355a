/**
 * What the bench needs of another lock service to measure it: how its server is started, how a
 * client of it takes a lock, and which npm packages that takes. The packages go into a folder of
 * their own and never become anybody's dependencies.
 */
import type { LockClient } from '../load/clientPairs.js'

export interface Peer {
  /** As the tables call it. */
  readonly name: string
  /** With versions, so that a table says what was measured. */
  readonly packages: readonly string[]
  /**
   * Waiters ask again and again instead of being told: the yardstick cannot run beside them, and a
   * thousand of them have nothing left for anything else.
   */
  readonly polls: boolean
  readonly server: PeerServer
  /** Connects so many clients, one connection each. Runs in the generator. */
  readonly connect: (url: string, count: number, load: LoadPackage) => Promise<LockClient[]>
}

/** Loads an installed package; what it holds is the adapter's knowledge. */
export type LoadPackage = (name: string) => unknown

/** Either a program of the system's, or JavaScript that a process of ours runs. */
export type PeerServer = ProgramServer | ScriptServer

export interface ProgramServer {
  readonly kind: 'program'
  /** Where its programs may be beside the PATH. */
  readonly folders?: readonly string[]
  /** The program; without it the peer is skipped. */
  readonly program: string
  /** Who installs it, for the sentence that says why a peer was skipped. */
  readonly debianPackage: string
  /** Makes its data folder ready, if it has to be. */
  readonly prepare?: (folder: string, run: RunProgram) => void
  readonly args: (port: number, folder: string) => readonly string[]
  /** What it prints when it can be used. */
  readonly ready: RegExp
  /** Refuses to run as root, so this user runs it. */
  readonly user?: string
  readonly url: (port: number) => string
}

/** Runs another program of the same package to its end. */
export type RunProgram = (program: string, args: readonly string[]) => void

export interface ScriptServer {
  readonly kind: 'script'
  readonly listen: (port: number, load: LoadPackage) => Promise<void>
  readonly url: (port: number) => string
}
