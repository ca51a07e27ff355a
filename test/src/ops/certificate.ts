/**
 * Makes a self-signed certificate for the tests of TLS, and a WebSocket class that trusts the
 * certificate.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { WebSocketConstructor } from '@holdfast/client'
import { WebSocket } from 'ws'
import type { ScratchFolder } from './scratch.js'

/**
 * A certificate and its private key, as PEM texts and as files, and a WebSocket class that trusts
 * the certificate.
 */
export interface Certificate {
  readonly cert: string
  readonly key: string
  readonly certPath: string
  readonly keyPath: string
  readonly TrustingWebSocket: WebSocketConstructor
}

/**
 * Runs openssl to make a self-signed certificate for localhost, 127.0.0.1 and locks.example. The
 * certificate is valid for one day.
 *
 * @param localAddress The address from which the WebSocket class connects. Default: the system
 *   chooses an address.
 */
export function makeCertificate(files: ScratchFolder, localAddress?: string): Certificate {
  const [certPath, keyPath] = [files.path('cert.pem'), files.path('key.pem')]
  const altNames = 'subjectAltName=DNS:localhost,DNS:locks.example,IP:127.0.0.1'
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-days', '1', '-subj', '/CN=localhost', '-addext', altNames],
      ...['-keyout', keyPath, '-out', certPath],
    ],
    { stdio: 'ignore' },
  )
  const cert = readFileSync(certPath, 'utf8')
  class TrustingWebSocket extends WebSocket {
    constructor(url: string, protocols?: string | string[]) {
      super(url, protocols, { ca: cert, ...(localAddress === undefined ? {} : { localAddress }) })
    }
  }
  const key = readFileSync(keyPath, 'utf8')
  const trustingClass = TrustingWebSocket as unknown as WebSocketConstructor
  return { cert, key, certPath, keyPath, TrustingWebSocket: trustingClass }
}
