/**
 * The TypeScript compilers that must accept the types of the packages, each with several module
 * resolutions. Each compiler also checks the declaration files of the packages (`skipLibCheck:
 * false`). The programs are compiled without the types of `Symbol.dispose`, except the program
 * `disposal`, which only the current compiler compiles.
 */
import { cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { root } from '../conventions/repository.js'
import { type Outcome, type Project, runProgram } from './stage.js'

type Resolution = keyof typeof resolutionOptions

/** The compiler options of each module resolution. */
const resolutionOptions = {
  node10: { module: 'commonjs', moduleResolution: 'node' },
  node16: { module: 'node16', moduleResolution: 'node16' },
  nodenext: { module: 'nodenext', moduleResolution: 'nodenext' },
  bundler: { module: 'esnext', moduleResolution: 'bundler' },
} as const

/** The compilers. The version `current` is the compiler of this repository. */
export const compilers: readonly {
  readonly version: string
  readonly resolutions: readonly Resolution[]
}[] = [
  { version: '4.9', resolutions: ['node10', 'node16'] },
  { version: '5.0', resolutions: ['node10', 'node16', 'bundler'] },
  { version: '5.4', resolutions: ['node10', 'node16', 'bundler'] },
  { version: '5.9', resolutions: ['node10', 'node16', 'nodenext', 'bundler'] },
  { version: 'current', resolutions: ['nodenext', 'bundler'] },
]

/**
 * Compiles the programs in the folder `types`. Only the program `server` is compiled with the types
 * of Node. With `node16` and `nodenext`, each program is compiled both as ESM and as CommonJS.
 */
export async function compile(
  project: Project,
  version: string,
  resolution: Resolution,
): Promise<Outcome> {
  const programs = ['client', 'server', ...(version === 'current' ? ['disposal'] : [])]
  let outcome: Outcome = { code: 0, output: '' }
  for (const program of programs) {
    const configFile = await configure(project, program, resolution)
    // The parent folder of the project links to the tools, such as the compilers.
    const tsc =
      version === 'current'
        ? join(root, 'node_modules/typescript/bin/tsc')
        : join(project.folder, '../node_modules', `typescript-${version}`, 'bin/tsc')
    outcome = await runProgram(process.execPath, [tsc, '-p', configFile], project.folder)
    if (outcome.code !== 0) return outcome
  }
  return outcome
}

/** Writes the configuration that compiles a program, and returns its path. */
async function configure(
  project: Project,
  program: string,
  resolution: Resolution,
): Promise<string> {
  const folder = join(project.folder, 'types')
  // In `node16` and `nodenext`, the ending of a file name decides between CommonJS and ESM.
  const endings = resolution.startsWith('node') && resolution !== 'node10' ? ['cts', 'mts'] : ['ts']
  const files = endings.map((ending) => `${program}.${ending}`)
  for (const file of files) {
    if (!file.endsWith('.ts')) await cp(join(folder, `${program}.ts`), join(folder, file))
  }
  const lib = ['es2022', 'dom', ...(program === 'disposal' ? ['esnext.disposable'] : [])]
  const compilerOptions = {
    ...resolutionOptions[resolution],
    noEmit: true,
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noUncheckedIndexedAccess: true,
    target: 'es2022',
    lib,
    types: program === 'server' ? ['node'] : [],
  }
  const configFile = join(folder, 'tsconfig.json')
  await writeFile(configFile, JSON.stringify({ compilerOptions, files }))
  return configFile
}
