/**
 * The property names that mean something outside of the client's one file, and so must not be
 * shortened in it: those of its public door, of the protocol, of the platform and of the emitter.
 * Taken from what the compiler knows of them, so that there is no list to keep. Every word of the
 * types counts as a name, which keeps a few too many.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

/** What a browser, a worker and the language have. */
const platform = /^lib\.(dom|webworker|es\d+|esnext|decorators)(\.\w+)*\.d\.ts$/
const compiler = `node_modules/@typescript/typescript-${process.platform}-${process.arch}/lib`

export function keptNames(root) {
  const door = readFileSync(join(root, 'client/dist/index.d.ts'), 'utf8')
  const opened = [...door.matchAll(/from '\.\/(.+)\.js'/g)].map(([, file]) => file)
  const libraries = readdirSync(join(root, compiler)).filter((file) => platform.test(file))
  const files = [
    'client/dist/index.d.ts',
    ...opened.map((file) => `client/dist/${file}.d.ts`),
    'shared/dist/messages.d.ts',
    'shared/dist/errors.d.ts',
    'node_modules/eventemitter3/index.d.ts',
    ...libraries.map((file) => `${compiler}/${file}`),
  ]
  return new Set(files.flatMap((file) => wordsOf(readFileSync(join(root, file), 'utf8'))))
}

function wordsOf(types) {
  return types.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '').match(/[A-Za-z_$][\w$]*/g) ?? []
}
