/**
 * The certificates and the password for etcd. Values from files are read again from time to time,
 * because certificates expire and passwords are changed while the broker runs.
 */
import { readFileSync } from 'node:fs'
import type { Clock } from '@holdfast/shared'
import { checkPem } from '../certificates.js'

/** How long the broker uses files before it reads them again, in ms. */
const rereadMs = 5_000

/** Certificates as PEM text, or the paths of files with PEM text. */
export interface EtcdTls {
  /** The trusted certificate authorities. Default: the authorities that Node trusts. */
  readonly ca?: string | Buffer | undefined
  /** The broker's own certificate and key, if etcd asks for a client certificate. */
  readonly cert?: string | Buffer | undefined
  readonly key?: string | Buffer | undefined
  /** Files instead of `ca`, `cert` and `key`. The broker reads changed files within seconds. */
  readonly caFile?: string | undefined
  readonly certFile?: string | undefined
  readonly keyFile?: string | undefined
}

/** A user of etcd, with a password or the path of a file with the password. */
export interface EtcdAuth {
  readonly user: string
  readonly password?: string | undefined
  /** The broker reads this file each time it needs a token of etcd. A line end is ignored. */
  readonly passwordFile?: string | undefined
}

/** Certificates as PEM text. */
export interface TlsTexts {
  readonly ca?: string | Buffer
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
}

/** The current certificates, which this class reads again when files have changed. */
export class TlsSource {
  readonly #clock: Clock
  readonly #tls: EtcdTls
  readonly #hasFiles: boolean
  #texts: TlsTexts
  /** When the files were last read, or could not be read, in ms of the monotonic clock. */
  #readAt: number

  /** @throws if a file cannot be read, or has no valid certificate or key. */
  constructor(clock: Clock, tls: EtcdTls = {}) {
    this.#clock = clock
    this.#tls = tls
    this.#hasFiles = [tls.caFile, tls.certFile, tls.keyFile].some((path) => path !== undefined)
    this.#texts = readTexts(tls)
    this.#readAt = clock.monotonic()
  }

  /** The certificates for a new connection. */
  get texts(): TlsTexts {
    const now = this.#clock.monotonic()
    if (this.#hasFiles && now - this.#readAt >= rereadMs) {
      this.#readAt = now
      try {
        this.#texts = readTexts(this.#tls)
      } catch {
        // Use the former certificates, because another program may just be replacing the files.
      }
    }
    return this.#texts
  }
}

/** The password of a user, without a line end. @throws if the password file cannot be read. */
export function passwordOf({ password, passwordFile }: EtcdAuth): string {
  return passwordFile === undefined
    ? (password ?? '')
    : readFileSync(passwordFile, 'utf8').trimEnd()
}

function readTexts({ ca, cert, key, caFile, certFile, keyFile }: EtcdTls): TlsTexts {
  const sources = [
    ['ca', ca, caFile],
    ['cert', cert, certFile],
    ['key', key, keyFile],
  ] as const
  const texts = sources.flatMap(([name, text, path]) => {
    const value = path === undefined ? text : readFileSync(path)
    return value === undefined ? [] : [[name, value] as const]
  })
  const tlsTexts: TlsTexts = Object.fromEntries(texts)
  // This check throws if a file has another text, such as half of a certificate. Without this
  // check, Node would throw at each connection.
  if (texts.length > 0) checkPem(tlsTexts)
  return tlsTexts
}
