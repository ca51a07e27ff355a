/**
 * Before `npm pack` of a package, in its folder: builds it from nothing, so that no file of an
 * older build is shipped, and puts the licence beside it, where npm looks for it.
 */
import { copyFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import process from 'node:process'
import { root, setUp } from './setup.mjs'

const folder = process.cwd()
rmSync(join(folder, 'dist'), { recursive: true, force: true })
await setUp(basename(folder))
copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
