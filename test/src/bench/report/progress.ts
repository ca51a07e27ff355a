/** Shows the progress of a run: a bar if stderr is a terminal, otherwise a line for each job. */
import { Presets, SingleBar } from 'cli-progress'

export interface Progress {
  /** The next job begins. */
  begin(title: string): void
  /** @param done The finished share of the current job, from 0 to 1. */
  advance(done: number): void
  /** The last job has ended. */
  end(): void
}

/** Shows the progress of a run with this many jobs. */
export function showProgress(jobCount: number): Progress {
  return process.stderr.isTTY ? bar(jobCount) : lines(jobCount)
}

/** Shows the progress as a bar. */
function bar(jobCount: number): Progress {
  const format = '{bar} {value}/{total} jobs, {duration_formatted}: {title}'
  const progressBar = new SingleBar(
    { format, hideCursor: true, clearOnComplete: true, formatValue: formatNumber },
    Presets.shades_classic,
  )
  // The first `begin` makes this 0, because no job has finished.
  let finished = -1
  progressBar.start(jobCount, 0, { title: '' })
  return {
    begin: (title) => progressBar.update(++finished, { title }),
    advance: (done) => progressBar.update(finished + Math.min(done, 1)),
    end: () => progressBar.stop(),
  }
}

/**
 * Formats a number of the bar. The number of the kind `value` counts the finished jobs, and its
 * decimal is the finished part of the current job.
 */
function formatNumber(value: number, _options: unknown, kind: string): string {
  return kind === 'value' ? value.toFixed(1) : String(value)
}

/** Prints one line for each job. */
function lines(jobCount: number): Progress {
  let begun = 0
  return {
    begin: (title) => process.stderr.write(`[${++begun}/${jobCount}] ${title}\n`),
    advance: () => {},
    end: () => {},
  }
}
