/**
 * A raw client (which writes protocol messages itself) that tries to resume the sessions of other
 * clients with retired resume secrets. A resume secret proves that a new connection belongs to its
 * session, and each resume gives the client a new secret. The old secret is retired when the client
 * has shown that it has the new secret. If the client resumes again with the old secret instead,
 * the unused new secret is retired.
 */
import type { Command, Effect, LockTable } from '@holdfast/server/core'
import type { Random } from './random.js'
import { ActionLoop, messagesIn, type RawClientDeps } from './rawClient.js'
import type { RunReport } from './runReport.js'

type ResumeCommand = Extract<Command, { type: 'resume' }>

/** The hashes of the secrets that resume a session. */
interface ValidSecrets {
  /** The secret that the client of the session certainly has. */
  current: string
  /** The secret that the broker sent to the client and that the client has not yet confirmed. */
  next: string | undefined
  /** The number of the newest attempt that resumed with `current`. The numbers rise. */
  newestAttempt: number
}

/**
 * Knows which secrets resume a session and which secrets are retired. The commands contain only the
 * hashes of the secrets, but a simulated hash contains its secret.
 */
export class ResumeSecrets {
  readonly #valid = new Map<string, ValidSecrets>()
  readonly #retired: { readonly session: string; readonly secret: string }[] = []

  /** Call when a table has applied a command. */
  follow(table: LockTable, command: Command, effects: readonly Effect[], report: RunReport): void {
    if (command.type === 'open' && command.secret !== undefined) {
      this.#valid.set(command.session, {
        current: command.secret,
        next: undefined,
        newestAttempt: 0,
      })
    } else if (command.type === 'resume') {
      // A resume without a number always counts as newer than the other attempts.
      const { session, proof, resumeAttempt: attempt = Infinity } = command
      const valid = this.#valid.get(session)
      const isNewAttempt = valid !== undefined && attempt > valid.newestAttempt
      const isValid = proof === valid?.next || (proof === valid?.current && isNewAttempt)
      const isResumed = effects.some(({ kind }) => kind === 'resumed')
      if (isResumed) this.#resumed(command)
      else if (isValid && table.sessions.has(session)) {
        report.violated('a valid secret resumes its session', session)
      }
    } else if (commandsOfClient.has(command.type) && 'attachEpoch' in command) {
      // Only a message on the newest connection of the session confirms the newest secret.
      // `attachEpoch` is the number of the connection.
      const session = table.sessions.get(command.session)
      if (session?.attachEpoch === command.attachEpoch && !session.suspended)
        this.#confirm(command.session)
    }
  }

  /** Call when the broker has ended, with all its sessions. */
  clear(): void {
    this.#valid.clear()
    this.#retired.length = 0
  }

  /** A random retired secret; undefined if no secret is retired. */
  pick(random: Random): { readonly session: string; readonly secret: string } | undefined {
    return this.#retired.length === 0 ? undefined : random.pick(this.#retired)
  }

  #resumed({ session, proof, secret, resumeAttempt: attempt }: ResumeCommand): void {
    const valid = this.#valid.get(session)
    if (valid === undefined) return
    if (proof === valid.next) this.#confirm(session)
    else if (valid.next !== undefined) this.#retire(session, valid.next)
    valid.next = secret
    // After a resume without a number, every attempt with a number counts as newer.
    valid.newestAttempt = attempt ?? 0
  }

  #confirm(session: string): void {
    const valid = this.#valid.get(session)
    if (valid?.next === undefined) return
    this.#retire(session, valid.current)
    valid.current = valid.next
    valid.next = undefined
    valid.newestAttempt = 0
  }

  #retire(session: string, hash: string): void {
    this.#retired.push({ session, secret: hash.replace('hash of ', '') })
  }
}

/** The commands of a client that has read its `welcome`, which contains the newest secret. */
const commandsOfClient: ReadonlySet<string> = new Set([
  'lock',
  'unlock',
  'refresh',
  'cancel',
  'ack',
  'confirm',
])

/** The mean time between two attempts, in ms. */
const pauseMs = 2_000

export class Hijacker {
  readonly #deps: RawClientDeps
  readonly #loop: ActionLoop

  constructor(deps: RawClientDeps) {
    this.#deps = deps
    this.#loop = new ActionLoop(deps, pauseMs, () => this.#act())
  }

  start(): void {
    this.#loop.start()
  }

  stop(): void {
    this.#loop.stop()
  }

  #act(): void {
    const { oracles, random } = this.#deps
    const retired = oracles.secrets.pick(random)
    if (retired !== undefined) this.#tryToResume(retired)
  }

  #tryToResume(retired: { readonly session: string; readonly secret: string }): void {
    const { WebSocket, oracles, anyUrl } = this.#deps
    const socket = new WebSocket(anyUrl(), 'holdfast.v1')
    const hello = { type: 'hello', name: 'hijacker', resume: retired }
    socket.onopen = () => socket.send(JSON.stringify(hello))
    socket.onmessage = ({ data }) => {
      // Only the first frame matters, because it has the `welcome`.
      socket.onmessage = null
      const [welcome] = messagesIn<{ readonly resumed?: boolean }>(data)
      oracles.report.count('retired secret tried')
      if (welcome?.resumed !== false) {
        oracles.violated(
          'a retired secret resumes no session',
          `${retired.session} by ${retired.secret}`,
        )
      }
      socket.send('{"type":"bye"}')
    }
  }
}
