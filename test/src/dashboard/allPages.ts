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
 * The part of the URL after `#`, for each page. The page that asks for a token has no route.
 *
 * @param lock The key for the page of a lock.
 * @param session The id for the page of a session.
 */
export function pageHashes(lock: string, session: string): Readonly<Record<string, string>> {
  return {
    ...{ overview: '#/overview', locks: '#/locks', lock: `#/lock/${encodeURIComponent(lock)}` },
    ...{ sessions: '#/sessions', session: `#/session/${encodeURIComponent(session)}` },
    ...{ coordination: '#/coordination', events: '#/events' },
  }
}
