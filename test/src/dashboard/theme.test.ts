/** Tests that the colors of the dashboard have enough contrast in both themes. */
import { expect } from 'chai'
import { read } from '../conventions/repository.js'

const { text } = read('server/src/dashboard/styles/theme.css')

/** The custom properties of each CSS rule for `:root`, in the order of the file. */
const rules = [...text.matchAll(/:root[^{]*\{([^{}]*)\}/g)].map(
  ([, body]) =>
    new Map(
      [...(body ?? '').matchAll(/--([\w-]+): ([^;]+);/g)].map(([, name, value]) => [name, value]),
    ),
)
/** The default theme, the dark theme that the user chose, and the dark theme of the system. */
const [light, dark, darkBySystem] = rules

/** The contrast that level AA of WCAG requires for a text, and for an edge or a focus ring. */
const minContrast = { text: 4.5, edge: 3 }

/** The contrast ratio as WCAG defines it, from 1 to 21. */
function contrast(first = '', second = ''): number {
  const [brighter = 0, darker = 0] = [luminance(first), luminance(second)].sort((a, b) => b - a)
  return (brighter + 0.05) / (darker + 0.05)
}

/** The relative luminance as WCAG defines it, from 0 to 1. */
function luminance(color: string): number {
  // The positions of the three hexadecimal numbers in a color such as `#1f6feb`.
  const positions = [1, 3, 5]
  const [r = 0, g = 0, b = 0] = positions
    .map((at) => Number.parseInt(color.slice(at, at + 2), 16) / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

/** For each text color, the background colors on which the dashboard uses that color. */
const backgroundsOf: Readonly<Record<string, readonly string[]>> = {
  ink: ['ground', 'surface', 'sunk', 'accent-soft', 'bad-soft'],
  quiet: ['ground', 'surface', 'sunk', 'accent-soft', 'bad-soft'],
  accent: ['ground', 'surface', 'sunk'],
  'on-accent': ['accent'],
  blue: ['surface', 'blue-soft'],
  wait: ['ground', 'surface', 'sunk', 'wait-soft'],
  bad: ['ground', 'surface', 'sunk', 'bad-soft'],
  // The text of the button that revokes a lock has the color of a surface.
  surface: ['bad'],
}

describe('the colors of the dashboard', () => {
  it('are the same in both dark themes (of the user and of the system), with the names of the light theme', () => {
    expect(rules).to.have.length(3)
    expect([...darkBySystem!]).to.deep.equal([...dark!])
    expect([...light!.keys()]).to.deep.equal([...dark!.keys()])
  })

  for (const [name, theme] of Object.entries({ light, dark })) {
    it(`have enough contrast in the ${name} theme`, () => {
      for (const [color, backgrounds] of Object.entries(backgroundsOf)) {
        for (const background of backgrounds) {
          const ratio = contrast(theme!.get(color), theme!.get(background))
          expect(ratio, `${color} on ${background}`).to.be.at.least(minContrast.text)
        }
      }
      for (const background of ['surface', 'sunk', 'ground']) {
        const edge = contrast(theme!.get('line-strong'), theme!.get(background))
        expect(edge, `the edge of a field on ${background}`).to.be.at.least(minContrast.edge)
        const focus = contrast(theme!.get('focus'), theme!.get(background))
        expect(focus, `the focus ring on ${background}`).to.be.at.least(minContrast.edge)
      }
    })
  }
})
