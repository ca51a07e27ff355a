/**
 * Tests the dashboard against an attack by a page of another origin in Chromium. Such a page gets
 * no WebSocket, reads no file, runs no script of the dashboard, and cannot show the dashboard in a
 * frame.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { DashboardPages } from './dashboardPages.js'

describe('the broker and the dashboard', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()
  const dashboardPages = DashboardPages.forSuite(stage)

  it('refuse the WebSocket, the files, the script and the frame to a page of another origin', async () => {
    const { port } = await stage.startBroker()
    const server = createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>evil')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    stage.onCleanUp(() => server.close())
    stage.onCleanUp(() => server.closeAllConnections())
    const page = await dashboardPages.context.newPage()
    stage.onCleanUp(() => page.close())
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    const outcome = await page.evaluate(async (brokerPort) => {
      const dashboard = `http://127.0.0.1:${brokerPort}/dashboard/`
      const webSocket = new Promise((resolve) => {
        const socket = new WebSocket(`ws://127.0.0.1:${brokerPort}/`, 'holdfast.v1')
        socket.onopen = () => resolve('opened')
        socket.onclose = () => resolve('refused')
      })
      const file = fetch(dashboard).then(
        () => 'read',
        () => 'refused',
      )
      const script = new Promise((resolve) => {
        const element = document.createElement('script')
        element.src = `${dashboard}app.js`
        element.onload = () => resolve('loaded')
        element.onerror = () => resolve('refused')
        document.head.append(element)
      })
      const frame = document.createElement('iframe')
      frame.src = dashboard
      const frameLoaded = new Promise((resolve) => {
        frame.onload = resolve
      })
      document.body.append(frame)
      await frameLoaded
      return { webSocket: await webSocket, file: await file, script: await script }
    }, port)
    expect(outcome).to.include({ webSocket: 'refused', file: 'refused', script: 'refused' })
    // The frame shows the error page of the browser, and not the dashboard.
    const childFrame = page.frames().find((frame) => frame !== page.mainFrame())
    expect(await childFrame?.locator('#app').count()).to.equal(0)
  })
})
