/**
 * Tests the alerts for Prometheus in `server/deploy`. The alerts may use only the metrics that a
 * real broker exports. promtool, a program of Prometheus, evaluates the alerts over given metrics:
 * each alert must fire only for its own condition.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { assert } from 'chai'
import { root } from '../conventions/repository.js'
import { Stage } from '../e2e/stage.js'
import { EtcdStage } from '../log/etcdStage.js'
import { Holdfast } from '../ops/command.js'
import { makeScratchFolder } from '../ops/scratch.js'
import { needs } from '../support/needs.js'
import { deployFolder, readDeployYaml, seconds, type Yaml } from './deployFiles.js'

interface Alert {
  readonly alert: string
  readonly expr: string
  readonly for: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly description: string }
}

const path = 'prometheus/alerts.yaml'
const alerts: readonly Alert[] = readDeployYaml(path).flatMap(({ groups }) =>
  groups.flatMap(({ rules }: Yaml) => rules),
)

/** The metrics in an expression: all names except functions, labels and keywords. */
function metricsOf(expr: string): string[] {
  // Removes label selectors, the labels of groupings, the operator `and`, and ranges of time.
  const namesOnly = expr.replace(/\{[^}]*\}|\b(by|without) \([^)]*\)|\band\b|\[[^\]]*\]/g, '')
  return [...namesOnly.matchAll(/\b[a-z]\w*\b(?!\s*\()/g)].map(([name]) => name)
}

/**
 * For each alert, the series that make it fire. `0x30` is the value 0 now and in the next 30
 * minutes. `0+2x30` rises from 0 by 2 each minute. Values such as 1001 are just beyond the limit of
 * the alert. A counter that falls, such as `9 1 9 1`, belongs to a process that has restarted.
 */
const firing: Readonly<Record<string, readonly string[]>> = {
  HoldfastDown: ['up{job="holdfast"} 0x30'],
  HoldfastNotServing: ['holdfast_log_serving{job="holdfast"} 0x30'],
  HoldfastBrokersMissing: ['holdfast_log_brokers{job="holdfast"} 2x30'],
  HoldfastLogSlow: ['holdfast_log_lag_seconds{job="holdfast"} 1.5x30'],
  HoldfastLogProblem: [
    'holdfast_log_problem{job="holdfast"} 1x30',
    'holdfast_log_serving{job="holdfast"} 1x30',
  ],
  HoldfastResigning: ['holdfast_log_resignations_total{job="holdfast"} 0+1x30'],
  HoldfastTakingOver: ['holdfast_log_takeovers_total{job="holdfast"} 0+1x30'],
  HoldfastSnapshotsFailing: ['holdfast_log_snapshot_failures_total{job="holdfast"} 0+1x30'],
  HoldfastSnapshotOld: ['holdfast_log_snapshot_age_seconds{job="holdfast"} 3601x30'],
  HoldfastLogBacklog: ['holdfast_log_waiting{job="holdfast"} 1001x30'],
  HoldfastMemoryNearBound: [
    'holdfast_memory_used_bytes{job="holdfast"} 81x30',
    'holdfast_memory_limit_bytes{job="holdfast"} 100x30',
  ],
  HoldfastRefusing: ['holdfast_refused_total{job="holdfast",cause="any"} 0+120x30'],
  HoldfastLosingLocks: ['holdfast_losses_total{job="holdfast",reason="any"} 0+2x30'],
  HoldfastQueuesLong: ['holdfast_requests_waiting{job="holdfast"} 1001x30'],
  HoldfastHandoffSlow: [
    'holdfast_handoff_seconds_bucket{job="holdfast",le="0.25"} 0+1x30',
    'holdfast_handoff_seconds_bucket{job="holdfast",le="1"} 0+100x30',
    'holdfast_handoff_seconds_bucket{job="holdfast",le="+Inf"} 0+100x30',
  ],
  HoldfastEventLoopSlow: ['holdfast_event_loop_lag_seconds{job="holdfast",quantile="0.99"} 0.3x30'],
  HoldfastRestarting: ['holdfast_cpu_seconds_total{job="holdfast"} 1x15 9 1 9 1 9 1 9 1x3'],
}

describe('the alerts', () => {
  it('have different names, a severity, a summary and a description', () => {
    // Fewer alerts would mean that the test does not find the rules in the file.
    assert.isAbove(alerts.length, 10)
    assert.lengthOf(new Set(alerts.map(({ alert }) => alert)), alerts.length)
    for (const { alert, labels, annotations, for: time } of alerts) {
      assert.match(alert, /^Holdfast[A-Z]/)
      assert.include(['critical', 'warning'], labels.severity, alert)
      assert.isAtLeast(seconds(time), 0, alert)
      for (const text of [annotations.summary, annotations.description]) {
        // The text has at least 21 characters, so it is more than a word.
        assert.match(text, /^\S.{20,}$/, alert)
      }
    }
  })

  // A broker exports some of the metrics only if its command log is replicated, here over etcd.
  describe('for a broker with a log on etcd', function () {
    this.timeout(60_000)
    const etcd = EtcdStage.forSuite()
    const stage = Stage.forEachTest()

    it('use only metrics that the broker exports', async () => {
      const logFlags = ['--log', etcd.cluster.logUrl(etcd.prefix)]
      const args = ['serve', '--port', '0', '--metrics', '--admin-port', '0', ...logFlags]
      const serve = Holdfast.start(stage, args)
      const lines = await serve.out.waitUntil((all) =>
        all.some((line) => line.includes('admin endpoints on')),
      )
      const [, admin] = /admin endpoints on (http:\S+)/.exec(lines.join('\n')) ?? []
      const scrape = await (await fetch(`${admin}/metrics`)).text()
      const families = new Set(Array.from(scrape.matchAll(/^# TYPE (\S+) /gm), ([, name]) => name))
      for (const { alert, expr } of alerts) {
        const used = metricsOf(expr)
        assert.isNotEmpty(used, alert)
        for (const name of used) {
          // Prometheus adds the metric `up` for each target. The endings belong to a histogram.
          const isKnown = name === 'up' || families.has(name.replace(/_(bucket|count|sum)$/, ''))
          assert.isTrue(isKnown, `${alert} uses ${name}`)
        }
      }
    })
  })

  describe('in promtool', () => {
    needs('promtool')
    const stage = Stage.forEachTest()
    const rules = join(root, deployFolder, path)

    it('have the syntax that promtool expects', () => {
      const { status, stderr } = spawnSync('promtool', ['check', 'rules', rules], {
        encoding: 'utf8',
      })
      assert.deepEqual([status, stderr], [0, ''])
    })

    it('fire only for their own series', () => {
      assert.sameMembers(
        alerts.map(({ alert }) => alert),
        Object.keys(firing),
      )
      for (const [alert, series] of Object.entries(firing)) {
        assert.deepEqual(firingAfter(series), [alert])
      }
    })

    /**
     * The names of the alerts that fire after 25 minutes of these series. No alert waits for longer
     * than 15 minutes before it fires.
     */
    function firingAfter(series: readonly string[]): string[] {
      const inputs = series.map((text) => {
        const [, name = '', values = ''] = /^(.*\}) (.*)$/.exec(text) ?? []
        return { series: name, values }
      })
      // The query has no expected results, so promtool reports all firing alerts as unexpected.
      const query = { expr: 'ALERTS{alertstate="firing"}', eval_time: '25m' }
      const unit = {
        rule_files: [rules],
        evaluation_interval: '1m',
        tests: [{ interval: '1m', input_series: inputs, promql_expr_test: [query] }],
      }
      const file = makeScratchFolder(stage).write('test.yaml', JSON.stringify(unit))
      const { stdout, stderr } = spawnSync('promtool', ['test', 'rules', file], {
        encoding: 'utf8',
      })
      return Array.from(`${stdout}${stderr}`.matchAll(/alertname="(\w+)"/g), ([, name]) => name!)
    }
  })
})
