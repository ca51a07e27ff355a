/** Describes the machine of a run, because figures can be compared only on the same machine. */
import { arch, cpus, loadavg, release, totalmem, type } from 'node:os'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  /** The operating system. */
  readonly system: string
  readonly node: string
  /** The mean load of the machine in the minute before the run. */
  readonly loadBefore: number
}

/** Describes this machine, with its load before the run. */
export function describeMachine(): Machine {
  const cores = cpus()
  return {
    cpu: cores[0]?.model.trim() ?? 'unknown',
    cores: cores.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()} ${arch()}`,
    node: process.version,
    loadBefore: Number(loadavg()[0]!.toFixed(2)),
  }
}

/** One line about a machine, for the report. */
export function machineLine({ cpu, cores, memoryGiB, system, node, loadBefore }: Machine): string {
  return `${cores} × ${cpu}, ${memoryGiB} GiB, ${system}, Node ${node}; load before: ${loadBefore}`
}
