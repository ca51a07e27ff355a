/** `npm run clean`: removes all built files, and keeps the installed packages. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { projects, root } from './setup.mjs'

for (const project of projects) {
  rmSync(join(root, project, 'dist'), { recursive: true, force: true })
}
