/**
 * Runs before `npm pack` in the folder of a package: builds the package from nothing, so that no
 * old file is shipped, and copies the licence into the folder, where npm looks for it.
 */
import { copyFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import process from 'node:process'
import { root, setUp } from './setup.mjs'

const folder = process.cwd()
rmSync(join(folder, 'dist'), { recursive: true, force: true })
await setUp(basename(folder))
copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
