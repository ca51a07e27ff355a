/**
 * Draws the chart of the front page anew, as `test/bench/overview.svg`. Run this program after each
 * change of the table of the peers in `test/bench/README.md`.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { overviewOf } from './report/overview.js'

const folder = new URL('../../bench/', import.meta.url)
const benchReadme = await readFile(new URL('README.md', folder), 'utf8')
await writeFile(new URL('overview.svg', folder), overviewOf(benchReadme))
