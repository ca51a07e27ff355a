/** What this package uses of `proxy-from-env`, which has no types. */
declare module 'proxy-from-env' {
  /** The URL of the proxy, by the environment variables; empty for none. */
  export function getProxyForUrl(url: string): string
}
