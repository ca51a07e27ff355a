/** The button that changes the theme: system, light, dark. */
import { useState } from 'preact/hooks'
import { applyTheme, savedTheme, saveTheme, themes } from './theme.js'

/** The paths of SVG images of 24 by 24 px. */
const icons = {
  system: 'M4 5h16v11H4zM9 20h6M12 16v4',
  light:
    'M12 8a4 4 0 1 0 0 8a4 4 0 0 0 0-8M12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2',
  dark: 'M20 14A8.5 8.5 0 0 1 10 4a8.5 8.5 0 1 0 10 10',
} as const

export function ThemeSwitch() {
  const [theme, setTheme] = useState(savedTheme)
  const nextTheme = themes[(themes.indexOf(theme) + 1) % themes.length] ?? 'system'
  const change = (): void => {
    setTheme(nextTheme)
    applyTheme(nextTheme)
    saveTheme(nextTheme)
  }
  const label = `Theme: ${theme}. Change to ${nextTheme}`
  return (
    <button type="button" class="theme" onClick={change} aria-label={label} title={label}>
      <svg viewBox="0 0 24 24" width="19" height="19" aria-hidden="true">
        <path d={icons[theme]} />
      </svg>
    </button>
  )
}
