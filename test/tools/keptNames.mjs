/**
 * The property names that mean something outside of the client's one file, and so must not be
 * shortened in it: those of its public door, of the protocol and of the platform. Taken from what
 * the compiler knows of them, so that there is no list to keep. That is more than is needed: the
 * platform has many things that the client never touches.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

/** What a browser, a worker and the language have. */
const platform = /^lib\.(dom|webworker|es\d+|esnext|decorators)(\.\w+)*\.d\.ts$/
const compiler = `node_modules/@typescript/typescript-${process.platform}-${process.arch}/lib`

export function keptNames(root) {
  const read = (file) => withoutComments(readFileSync(join(root, file), 'utf8'))
  const door = read('client/dist/index.d.ts')
  const promised = [...door.matchAll(/\{(.+)\} from '\.\/(.+)\.js'/g)].flatMap(([, names, file]) =>
    declarationsOf(read(`client/dist/${file}.d.ts`), new Set(names.match(/\w+/g))),
  )
  const libraries = readdirSync(join(root, compiler)).filter((file) => platform.test(file))
  const types = [
    ...promised,
    read('shared/dist/messages.d.ts'),
    read('shared/dist/errors.d.ts'),
    ...libraries.map((file) => read(`${compiler}/${file}`)),
  ]
  return new Set(types.flatMap(namesIn))
}

function withoutComments(text) {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
}

/** Those of the declarations in a file that have one of these names. */
function declarationsOf(types, names) {
  return types.split(/^(?=export )/m).filter((declaration) => {
    const [, name] = declaration.match(/^export (?:declare )?\w+ (\w+)/) ?? []
    return names.has(name)
  })
}

/** The names of members and variables, and words in quotes, by which members may be looked up. */
function namesIn(types) {
  const names = types.matchAll(/^\s*(?:[a-z]+ )*"?([\w$]+)"?\??[:(<]|['"](\w+)['"]/gm)
  return [...names].map(([, declared, quoted]) => declared ?? quoted)
}
