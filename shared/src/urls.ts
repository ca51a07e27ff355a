/**
 * Removes secrets from URLs before they are shown in errors, in log lines and by the command. A URL
 * may have a password before its host and a token in its query, and shown text ends in log files
 * and bug reports.
 */

/**
 * The part of the platform's `URL` that this file uses. This package loads no types of platforms.
 */
declare const URL: new (text: string) => { readonly host: string }

const hidden = '***'

/** A URL within other text. */
const urlInText = /[a-z][a-z\d+.-]*:\/\/[^\s"'`<>()]+/gi

/** User name and password of a URL. In text that is no URL, everything before the last `@`. */
const userInfo = /^(\s*[a-z][a-z\d+.-]*:[\\/]*)[^\\/?#]*@/i
const anyUserInfo = /^([a-z][a-z\d+.-]*:[\\/]{2})?.*@/is

/**
 * A URL without its secrets: `***` replaces user name and password, query, and fragment. Text that
 * is not a URL is treated as a misspelt one, so `***` replaces everything before its last `@`. A
 * URL without secrets is returned unchanged. Never throws.
 */
export function redactUrl(url: { toString(): string }): string {
  const text = url.toString()
  return text
    .replace(hasHost(text) ? userInfo : anyUserInfo, `$1${hidden}@`)
    .replace(/\?[^#]*/, `?${hidden}`)
    .replace(/#.*/s, `#${hidden}`)
}

/** A text, such as an error message, with the secrets of every URL in it replaced by `***`. */
export function redactUrls(text: string): string {
  return text.replace(urlInText, redactUrl)
}

/**
 * Whether a text is a URL with a host. "user:password@host" is not: it is a URL of scheme "user".
 */
function hasHost(text: string): boolean {
  try {
    return new URL(text).host !== ''
  } catch {
    return false
  }
}
