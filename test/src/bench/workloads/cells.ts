/**
 * The workload "cells": the load of W1 (pairs of a lock and its unlock) through the client library,
 * over 1, 2 and 4 cells. A cell is a broker in memory that has its share of the keys. The job
 * compares the cells with one broker that has all keys, and with an echo server without locks.
 *
 * All brokers run on one core, so the cells together have no more processor time than one broker.
 * Therefore the workload shows only the cost of dividing the keys: how much processor time all
 * cells together need for each pair. The workload does not show the gain of several cores.
 */
import {
  type Job,
  type JobResult,
  type LoadContext,
  makeJob,
  param,
  type Workload,
} from '../job.js'
import { ClientPairs } from '../load/clientPairs.js'
import { rowsOf, runContest } from '../load/contest.js'
import { EchoPairs } from '../load/echoPairs.js'
import { ExclusionCheck } from '../load/exclusion.js'
import { clientSystem, openCellClients, openHoldfastClients } from '../load/holdfastClients.js'
import { type Server, startBroker } from '../processes/servers.js'

/** The number of sessions, as in the shape 64×16 of W1. */
const sessionCount = 64
/** The number of pairs under way in each session. */
const inFlight = 16

function jobs(): readonly Job[] {
  return [1, 2, 4].map((cells) =>
    makeJob({
      workload: 'cells',
      shape: cells === 1 ? '1 cell' : `${cells} cells`,
      placement: 'split',
      params: { cells },
    }),
  )
}

async function runJob(context: LoadContext): Promise<JobResult> {
  const { server, echo, job } = context
  const cellCount = param(job, 'cells')
  const brokers: Server[] = []
  try {
    for (let number = 1; number <= cellCount; number++) {
      const cellFlags = ['--cell', `${number}/${cellCount}`]
      brokers.push(await startBroker(job, { serveFlags: cellFlags }))
    }
    const exclusion = new ExclusionCheck()
    const urls = brokers.map(({ url }) => url)
    const [first] = brokers
    // A contestant (a compared system) has only one process id. So `allCells` has the id of the
    // first cell, for which this function returns the usage of all cells.
    const usageOf: LoadContext['usageOf'] = (pid) =>
      pid === first!.pid ? usageOfAll(brokers) : context.usageOf(pid)
    const oneBroker = new ClientPairs({
      system: clientSystem,
      serverPid: server.pid,
      clients: await openHoldfastClients(server.url, sessionCount),
      prefix: 'one',
      inFlight,
      exclusion,
    })
    const allCells = new ClientPairs({
      system: `holdfast, ${job.shape}`,
      serverPid: first!.pid,
      clients: await openCellClients(urls, sessionCount),
      prefix: 'cells',
      inFlight,
      exclusion,
    })
    const reference = await EchoPairs.open(echo, sessionCount, inFlight)
    const results = await runContest({ ...context, usageOf }, [reference, oneBroker, allCells])
    const { grants, violations } = exclusion
    return { rows: rowsOf(job, results), grants, violations }
  } finally {
    await Promise.all(brokers.map((broker) => broker.stop('SIGKILL')))
  }
}

/** The sum of the usages of these brokers. */
async function usageOfAll(brokers: readonly Server[]): ReturnType<Server['usage']> {
  const usages = await Promise.all(brokers.map((broker) => broker.usage()))
  return {
    cpuUs: usages.reduce((total, { cpuUs }) => total + cpuUs, 0),
    rssBytes: usages.reduce((total, { rssBytes }) => total + rssBytes, 0),
  }
}

export const cells: Workload = {
  name: 'cells',
  title: 'the load of W1 over cells, which each have a part of the keys',
  jobs,
  runJob,
}
