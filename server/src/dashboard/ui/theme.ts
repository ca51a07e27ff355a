/** Light, dark, or as the system has it; remembered by the browser, which may refuse to. */
export type Theme = 'system' | 'light' | 'dark'

export const themes: readonly Theme[] = ['system', 'light', 'dark']

const place = 'holdfast.theme'

export function savedTheme(): Theme {
  try {
    const saved = localStorage.getItem(place)
    return themes.find((theme) => theme === saved) ?? 'system'
  } catch {
    return 'system'
  }
}

export function saveTheme(theme: Theme): void {
  try {
    localStorage.setItem(place, theme)
  } catch {
    // Then it is chosen again next time.
  }
}

export function applyTheme(theme: Theme): void {
  const { dataset } = document.documentElement
  if (theme === 'system') delete dataset['theme']
  else dataset['theme'] = theme
}
