/**
 * What this package uses of `https-proxy-agent`. Found by `paths` in place of its own types, which
 * need those of Node.
 */
export class HttpsProxyAgent {
  constructor(proxy: string | URL, options?: { readonly signal?: AbortSignal })
  on(event: 'proxyConnect', listener: (answer: { readonly statusCode: number }) => void): this
}
