/**
 * `npm run pack`: makes a tarball of each package in `dist-packages`, and prints the commands that
 * install the tarballs in a project: without the broker, and with all packages.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { preparePackages } from './preparePackages.mjs'
import { packages, root, runNpm } from './setup.mjs'

const folder = join(root, 'dist-packages')
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder)
// Without the script "prepack" of each package, which would build once for each package.
await preparePackages(packages)
const workspaces = packages.flatMap((each) => ['--workspace', each])
const options = ['--ignore-scripts', '--pack-destination', folder, '--loglevel=error']
const code = await runNpm('pack', ...options, ...workspaces)
if (code !== 0) process.exit(code)
const names = readdirSync(folder)
const paths = (some) => some.map((name) => JSON.stringify(join(folder, name))).join(' ')
const namesWithoutBroker = names.filter((name) => !name.startsWith('holdfast-server-'))
process.stdout.write(`In your project, run one of these two commands.

For the client alone (then "npx holdfast" does not work in the project):
  npm install ${paths(namesWithoutBroker)}

For the client, the broker and the command "npx holdfast":
  npm install ${paths(names)}
`)
