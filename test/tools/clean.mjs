/** `npm run clean`: removes everything that was built, and keeps what is installed. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { projects, root } from './setup.mjs'

for (const project of projects) {
  rmSync(join(root, project, 'dist'), { recursive: true, force: true })
}
