/**
 * npm runs this program in the folder of a package before `npm pack`. It builds the package anew,
 * so that the tarball has no old file, and copies the licence into the folder, where npm expects
 * it.
 */
import { basename } from 'node:path'
import process from 'node:process'
import { preparePackages } from './preparePackages.mjs'

await preparePackages([basename(process.cwd())])
