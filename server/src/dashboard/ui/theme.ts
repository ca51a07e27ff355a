/**
 * The color theme: light, dark, or the theme of the operating system. The browser keeps the chosen
 * theme in its local storage.
 */
export type Theme = 'system' | 'light' | 'dark'

export const themes: readonly Theme[] = ['system', 'light', 'dark']

const storageKey = 'holdfast.theme'

export function savedTheme(): Theme {
  try {
    const saved = localStorage.getItem(storageKey)
    return themes.find((theme) => theme === saved) ?? 'system'
  } catch {
    // The user may have forbidden local storage.
    return 'system'
  }
}

export function saveTheme(theme: Theme): void {
  try {
    localStorage.setItem(storageKey, theme)
  } catch {
    // Ignore the error. Without local storage, the theme lasts until the page is closed.
  }
}

export function applyTheme(theme: Theme): void {
  const { dataset } = document.documentElement
  // Without the attribute, the style sheet follows the operating system.
  if (theme === 'system') delete dataset['theme']
  else dataset['theme'] = theme
}
