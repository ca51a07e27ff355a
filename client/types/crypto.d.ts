/** What this package uses of Node's `crypto`; see `ws.d.ts` for why it is declared here. */
declare module 'node:crypto' {
  export class X509Certificate {
    /** Throws for a certificate that cannot be read. */
    constructor(pem: string)
  }
}
