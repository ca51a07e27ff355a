/**
 * Runs the instructions of a Dockerfile without Docker. Each stage of the build has a folder, which
 * stands for the root folder of the image. Supports only the instructions in this repository's
 * Dockerfile.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { basename, dirname, join, posix, relative } from 'node:path'

export interface Instruction {
  readonly name: string
  readonly value: string
}

/** The instructions of a Dockerfile, without comments, each on one line. */
export function instructionsOf(text: string): Instruction[] {
  const lines = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .replace(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '')
  return lines.map((line) => {
    const [, name = '', value = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? []
    return { name, value }
  })
}

/**
 * Parses a `.dockerignore` file. The returned function tells whether the file excludes a path. A
 * pattern without stars is a name in the top folder. A pattern that begins with two stars is a name
 * in any folder.
 */
export function ignoredBy(text: string): (path: string) => boolean {
  const patterns = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  for (const pattern of patterns) {
    if (!/^(\*\*\/)?[\w.-]+$/.test(pattern)) {
      throw new Error(`This test does not support the pattern "${pattern}": use a name or **/name`)
    }
  }
  return (path) =>
    patterns.some((pattern) =>
      pattern.startsWith('**/')
        ? path.split('/').includes(pattern.slice('**/'.length))
        : path === pattern,
    )
}

/** The folders in the image that the instructions use. Each stage has all these folders. */
const imageFolders = ['/src', '/opt', '/usr/local/bin', '/var/lib/holdfast']

interface Stage {
  readonly name: string | undefined
  readonly folder: string
  workdir: string
}

export interface Build {
  /** The clone of the repository, from which COPY copies files. */
  readonly context: string
  /** The folder in which this module makes the folders of the stages. */
  readonly stagesFolder: string
  /** Whether COPY leaves out this path of the clone. */
  readonly isIgnored: (path: string) => boolean
  /** The environment of the commands of RUN. */
  readonly env: NodeJS.ProcessEnv
}

/**
 * Runs all instructions. Returns the folder of the last stage, which has the contents of the
 * image's root folder.
 */
export function runInstructions(instructions: readonly Instruction[], build: Build): string {
  const stages: Stage[] = []
  for (const instruction of instructions) {
    if (instruction.name === 'FROM') stages.push(newStage(instruction.value, build, stages.length))
    // Only ARG may come before the first FROM. ARG has no effect here.
    else if (stages.length > 0) runInstruction(instruction, stages, build)
  }
  return stages.at(-1)!.folder
}

/** Begins a stage of the build, with all image folders. */
function newStage(value: string, build: Build, index: number): Stage {
  const [, name] = / AS (\w+)$/.exec(value) ?? []
  const folder = join(build.stagesFolder, String(index))
  for (const path of imageFolders) mkdirSync(join(folder, path), { recursive: true })
  return { name, folder, workdir: '/' }
}

/** Runs one instruction in the newest stage. */
function runInstruction(
  { name, value }: Instruction,
  stages: readonly Stage[],
  build: Build,
): void {
  const stage = stages.at(-1)!
  switch (name) {
    case 'WORKDIR':
      stage.workdir = value
      mkdirSync(join(stage.folder, value), { recursive: true })
      break
    case 'COPY':
      copy(value, stages, build)
      break
    case 'RUN':
      runCommand(value, stage, build)
      break
    case 'USER':
    case 'ENV':
    case 'EXPOSE':
    case 'HEALTHCHECK':
    case 'ENTRYPOINT':
    case 'CMD':
      // These instructions change no files. Tests check their values.
      break
    default:
      throw new Error(`This test does not support the instruction ${name}: add it here`)
  }
}

/** Runs a COPY instruction: copies the contents of a folder, or a file. */
function copy(value: string, stages: readonly Stage[], build: Build): void {
  const stage = stages.at(-1)!
  const [, from, source = '', target = ''] = /^(?:--from=(\w+) )?(\S+) (\S+)$/.exec(value) ?? []
  const fromStage = stages.find((candidate) => candidate.name === from)
  // Without `--from`, the source is the clone, even though `find` then returns a stage without a
  // name, if there is one (both are undefined).
  const top = fromStage === undefined || from === undefined ? build.context : fromStage.folder
  const isIgnored = from === undefined ? build.isIgnored : () => false
  const fromPath = join(top, source)
  const toPath = join(stage.folder, posix.resolve(stage.workdir, target))
  if (!existsSync(fromPath)) throw new Error(`COPY ${value}: there is no ${source}`)
  const options = {
    recursive: true,
    verbatimSymlinks: true,
    filter: (path: string) => !isIgnored(relative(build.context, path)),
  }
  if (!statSync(fromPath).isDirectory()) {
    mkdirSync(dirname(toPath), { recursive: true })
    cpSync(fromPath, target.endsWith('/') ? join(toPath, basename(fromPath)) : toPath, options)
    return
  }
  mkdirSync(toPath, { recursive: true })
  for (const name of readdirSync(fromPath))
    cpSync(join(fromPath, name), join(toPath, name), options)
}

/**
 * Runs a RUN instruction with `sh` in the working directory. Replaces each image folder in the
 * command line, such as `/opt`, by its folder in the stage.
 */
function runCommand(value: string, { folder, workdir }: Stage, { env }: Build): void {
  const commandLine = imageFolders.reduce(
    (line, path) => line.replaceAll(new RegExp(`(?<=^|\\s)${path}(?=/|\\s|$)`, 'g'), folder + path),
    value,
  )
  const cwd = join(folder, workdir)
  const result = spawnSync('sh', ['-c', commandLine], { cwd, env, encoding: 'utf8' })
  if (result.status === 0) return
  throw new Error(`RUN ${value} failed\n${result.stdout}\n${result.stderr}`)
}
