/**
 * npm runs this program in the folder of a package before `npm pack`. It builds the package anew,
 * so that the tarball has no old file, and copies the licence into the folder, where npm expects
 * it.
 */
import { copyFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import process from 'node:process'
import { root, setUp } from './setup.mjs'

const folder = process.cwd()
rmSync(join(folder, 'dist'), { recursive: true, force: true })
await setUp(basename(folder))
copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
