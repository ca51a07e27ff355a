/**
 * URLs as they may be shown: in errors, in log lines and by the command. A URL may carry a password
 * before its host and a token in its query, and what is shown ends in log files and bug reports.
 */

/** What this file uses of the platform's `URL`: its types are not loaded in this package. */
declare const URL: new (text: string) => { readonly host: string }

const hidden = '***'

/** A URL within other text. */
const urlInText = /[a-z][a-z\d+.-]*:\/\/[^\s"'`<>()]+/gi

/** Before the host of a URL, and of text that is none: there up to the last `@`. */
const userInfo = /^(\s*[a-z][a-z\d+.-]*:[\\/]*)[^\\/?#]*@/i
const anyUserInfo = /^([a-z][a-z\d+.-]*:[\\/]{2})?.*@/is

/**
 * A URL without its secrets: user name and password, query and fragment are replaced by `***`. Text
 * that is not a URL is taken for a misspelt one, of which everything before the last `@` is
 * replaced. What has no secrets is returned as it is. Never throws.
 */
export function redactUrl(url: { toString(): string }): string {
  const text = url.toString()
  return text
    .replace(hasHost(text) ? userInfo : anyUserInfo, `$1${hidden}@`)
    .replace(/\?[^#]*/, `?${hidden}`)
    .replace(/#.*/s, `#${hidden}`)
}

/** Text, such as the message of an error, in which each URL is without its secrets. */
export function redactUrls(text: string): string {
  return text.replace(urlInText, redactUrl)
}

/** False for "user:password@host", which is a URL whose scheme is "user". */
function hasHost(text: string): boolean {
  try {
    return new URL(text).host !== ''
  } catch {
    return false
  }
}
