/**
 * Checks the certificates and the key with which a broker connects to PostgreSQL or etcd. Node
 * ignores a text without a certificate in place of the authorities, and would report only that the
 * certificate of the server is not trusted.
 */
import { createSecureContext } from 'node:tls'

/** Certificates and a private key as PEM text. */
export interface PemTexts {
  readonly ca?: string | Buffer | undefined
  readonly cert?: string | Buffer | undefined
  readonly key?: string | Buffer | undefined
}

/** @throws {Error} if Node cannot use the texts. The message names the option. */
export function checkPem({ ca, cert, key }: PemTexts): void {
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
