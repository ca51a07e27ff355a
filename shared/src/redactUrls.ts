/**
 * Replaces the secrets in URLs before the URLs appear in errors, in log lines and in the output of
 * the command `holdfast`. A URL may contain a password before its host and a token in its query.
 * Errors and log lines get into bug reports.
 */

/**
 * The members of the platform's class `URL` that this file uses. They are declared here, because
 * this package loads the type declarations of neither Node nor the DOM.
 */
declare const URL: new (text: string) => { readonly host: string }

const mask = '***'

/** Matches a URL within other text. */
const urlInText = /[a-z][a-z\d+.-]*:\/\/[^\s"'`<>()]+/gi

/**
 * For a URL with a host: matches its scheme, user name and password. Group 1 is the scheme, which
 * stays in the replacement.
 */
const userInfo = /^(\s*[a-z][a-z\d+.-]*:[\\/]*)[^\\/?#]*@/i
/**
 * For a text without a host, as {@link hasHost} decides: matches all text up to the last `@`. If
 * the text begins with a scheme and `//`, group 1 is this beginning, which stays in the
 * replacement.
 */
const userInfoWithoutHost = /^([a-z][a-z\d+.-]*:[\\/]{2})?.*@/is

/**
 * Returns a URL with `***` in place of the user info (user name and password), the query and the
 * fragment. A URL that has none of the three is returned unchanged. A text without a host may be a
 * misspelt URL. In such a text `***` replaces everything before the last `@`. If the text begins
 * with a scheme and `//`, this beginning stays. Never throws.
 */
export function redactUrl(url: { toString(): string }): string {
  const text = url.toString()
  return text
    .replace(hasHost(text) ? userInfo : userInfoWithoutHost, `$1${mask}@`)
    .replace(/\?[^#]*/, `?${mask}`)
    .replace(/#.*/s, `#${mask}`)
}

/** Replaces the secrets of every URL within a text, such as an error message, by `***`. */
export function redactUrls(text: string): string {
  return text.replace(urlInText, redactUrl)
}

/**
 * Whether a text is a URL with a host. False for "user:password@host", which the platform parses as
 * a URL with the scheme "user" and no host.
 */
function hasHost(text: string): boolean {
  try {
    return new URL(text).host !== ''
  } catch {
    return false
  }
}
