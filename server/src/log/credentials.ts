/**
 * The certificates and the password with which a broker connects to PostgreSQL or etcd. Values from
 * files are read again while the broker runs, because certificates expire and passwords are
 * changed.
 */
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { Clock, OptionNames } from '@holdfast/shared'

/** A new connection reads the files again if the last reading is at least this old, in ms. */
const rereadMs = 5_000

/** Certificates and a private key as PEM text. */
export interface PemTexts {
  readonly ca?: string | Buffer | undefined
  readonly cert?: string | Buffer | undefined
  readonly key?: string | Buffer | undefined
}

/** Certificates as PEM text, or the paths of files with PEM text. */
export interface LogTls {
  /** The trusted certificate authorities. Default: the authorities that Node trusts. */
  readonly ca?: string | Buffer | undefined
  /** The broker's own certificate and key, if the server asks for a client certificate. */
  readonly cert?: string | Buffer | undefined
  readonly key?: string | Buffer | undefined
  /** Files instead of `ca`, `cert` and `key`. The broker reads changed files within seconds. */
  readonly caFile?: string | undefined
  readonly certFile?: string | undefined
  readonly keyFile?: string | undefined
}

/** The names of the options of {@link LogTls}. The value 1 has no meaning. */
export const tlsOptionNames: OptionNames<LogTls> = {
  ca: 1,
  cert: 1,
  key: 1,
  caFile: 1,
  certFile: 1,
  keyFile: 1,
}

/** The certificates for new connections, read again from their files every few seconds. */
export class TlsSource {
  readonly #clock: Clock
  readonly #tls: LogTls
  readonly #hasFiles: boolean
  #texts: PemTexts
  /** When this class last tried to read the files, in ms of the monotonic clock. */
  #readAt: number

  /** @throws if a file cannot be read, or has no valid certificate or key. */
  constructor(clock: Clock, tls: LogTls = {}) {
    this.#clock = clock
    this.#tls = tls
    this.#hasFiles = [tls.caFile, tls.certFile, tls.keyFile].some((path) => path !== undefined)
    this.#texts = readTexts(tls)
    this.#readAt = clock.monotonic()
  }

  /** The certificates for a new connection. */
  get texts(): PemTexts {
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

/** A password, or the path of a file with the password. */
export interface PasswordOptions {
  readonly password?: string | undefined
  readonly passwordFile?: string | undefined
}

/**
 * The password of a user. Drops one line end at the end of the file, and keeps the blanks before
 * the line end.
 *
 * @throws if the password file cannot be read.
 */
export function passwordOf({ password, passwordFile }: PasswordOptions): string {
  return passwordFile === undefined
    ? (password ?? '')
    : readFileSync(passwordFile, 'utf8').replace(/\r?\n$/, '')
}

function readTexts({ ca, cert, key, caFile, certFile, keyFile }: LogTls): PemTexts {
  const sources = [
    ['ca', ca, caFile],
    ['cert', cert, certFile],
    ['key', key, keyFile],
  ] as const
  const texts = sources.flatMap(([name, text, path]) => {
    const value = path === undefined ? text : readFileSync(path)
    return value === undefined ? [] : [[name, value] as const]
  })
  const pemTexts: PemTexts = Object.fromEntries(texts)
  // While another program writes a file, the file may have half of a certificate. The check then
  // throws, so that `TlsSource` keeps the former certificates.
  if (texts.length > 0) checkPem(pemTexts)
  return pemTexts
}

/**
 * Checks the texts before the first connection uses them.
 *
 * @throws {Error} if Node cannot use the texts. The message names the option.
 */
function checkPem({ ca, cert, key }: PemTexts): void {
  // Node accepts a `ca` without a certificate, and later reports only an untrusted server.
  if (ca !== undefined && !/-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/.test(String(ca)))
    throw new Error('`tls.ca` has no certificate as PEM')
  try {
    createSecureContext({ ca, cert, key })
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException
    const reason = code.includes('KEY_VALUES_MISMATCH')
      ? '`tls.key` does not belong to `tls.cert`'
      : `\`tls.cert\` and \`tls.key\` must be PEM (${code})`
    throw new Error(reason, { cause })
  }
}
