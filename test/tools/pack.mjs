/**
 * `npm run pack`: makes a tarball of each package in `dist-packages`, and prints the command that
 * installs the tarballs in a project.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { packages, root, runNpm, setUp } from './setup.mjs'

const folder = join(root, 'dist-packages')
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder)
await setUp('shared')
const workspaces = packages.flatMap((each) => ['--workspace', each])
const options = ['--pack-destination', folder, '--loglevel=error']
const code = await runNpm('pack', ...options, ...workspaces)
if (code !== 0) process.exit(code)
const tarballs = readdirSync(folder).map((name) => JSON.stringify(join(folder, name)))
process.stdout.write(`npm install ${tarballs.join(' ')}\n`)
