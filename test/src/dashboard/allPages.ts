/**
 * All pages of the dashboard, and the screens on which tests and pictures show them. A test
 * compares the pages with the routes of the dashboard, so that no page is forgotten.
 */

export const screens = {
  light: { width: 1_200, height: 860, colorScheme: 'light' },
  dark: { width: 1_200, height: 860, colorScheme: 'dark' },
  phone: { width: 375, height: 812, colorScheme: 'light' },
} as const

export type Screen = keyof typeof screens

/**
 * The part of the URL after `#`, for each page. The page that asks for a token has none.
 *
 * @param options.key The key whose page the hash `lock` opens.
 * @param options.sessionId The session whose page the hash `session` opens.
 */
export function pageHashes({
  key = '',
  sessionId = '',
}: {
  key?: string
  sessionId?: string
}): Readonly<Record<string, string>> {
  return {
    overview: '#/overview',
    locks: '#/locks',
    lock: `#/lock/${encodeURIComponent(key)}`,
    sessions: '#/sessions',
    session: `#/session/${encodeURIComponent(sessionId)}`,
    coordination: '#/coordination',
    events: '#/events',
  }
}
