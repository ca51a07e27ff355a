/**
 * A small object store that runs inside a test: one bucket, over HTTP. The store answers GET, HEAD,
 * PUT and DELETE. The store checks the conditions of a write as Amazon documents them for S3:
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
 *
 * No S3 server of npm fits the tests. `s3rver` has no conditional writes, and its maintained fork
 * needs Node 24. This store differs from S3: the store requires signatures but does not check them,
 * and objects have no versions.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

export interface StoredObject {
  readonly body: string
  /** The quoted MD5 of the body, as S3 makes it for an object that was written by one PUT. */
  readonly etag: string
  /** The headers of the PUT that begin with `x-amz-meta-`. */
  readonly metadata: Readonly<Record<string, string>>
}

/** What the store answers: a status, and the code of an error. */
type Outcome = readonly [status: number, errorCode?: string]

const preconditionFailed: Outcome = [412, 'PreconditionFailed']

export class ObjectStore {
  /** The objects by path, such as `/bucket/order`. */
  readonly objects = new Map<string, StoredObject>()
  /** The method and the status of each answered request, such as `PUT 200`, in order. */
  readonly answers: string[] = []
  /** Runs when the body of a PUT begins to arrive; a test may change the objects here. */
  onPut: (path: string) => void | Promise<void> = () => {}
  /** If this is set, the store refuses every further request with this status. */
  failWith: number | undefined
  readonly #server = createServer((request, response) => void this.#handle(request, response))

  /** Listens on a free port of loopback. */
  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }

  /** The URL of the object with the path `/bucket/<key>`. */
  url(key: string): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/bucket/${key}`
  }

  /** Writes an object without a condition. */
  put(path: string, body: string, metadata: Readonly<Record<string, string>> = {}): void {
    const etag = `"${createHash('md5').update(body).digest('hex')}"`
    this.objects.set(path, { body, etag, metadata })
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url!
    const [status, errorCode] = await this.#execute(request, path)
    this.answers.push(`${request.method} ${status}`)
    const object = this.objects.get(path)
    response.statusCode = status
    if (errorCode !== undefined) {
      response
        .setHeader('content-type', 'application/xml')
        .end(`<Error><Code>${errorCode}</Code></Error>`)
      return
    }
    if (object === undefined) {
      response.end()
      return
    }
    response.setHeader('etag', object.etag)
    for (const [name, value] of Object.entries(object.metadata)) response.setHeader(name, value)
    response.end(request.method === 'GET' ? object.body : undefined)
  }

  async #execute(request: IncomingMessage, path: string): Promise<Outcome> {
    if (this.failWith !== undefined) return [this.failWith, 'AccessDenied']
    // S3 refuses conditional writes without a signature of version 4; this store, every request.
    const { authorization = '' } = request.headers
    if (!authorization.startsWith('AWS4-HMAC-SHA256 ')) return [403, 'AccessDenied']
    switch (request.method) {
      case 'PUT':
        return this.#write(request, path)
      case 'DELETE':
        this.objects.delete(path)
        return [204]
      default:
        // GET and HEAD.
        return this.objects.has(path) ? [200] : [404, 'NoSuchKey']
    }
  }

  /** Checks the conditions before and after the arrival of the body, and then writes the object. */
  async #write(request: IncomingMessage, path: string): Promise<Outcome> {
    const refusalBefore = this.#refusal(request, path)
    if (refusalBefore !== undefined) return refusalBefore
    const objectBefore = this.objects.get(path)
    await this.onPut(path)
    const body = (await buffer(request)).toString()
    const condition = request.headers['if-match'] ?? request.headers['if-none-match']
    // S3 answers 409 if another request changed the object while a conditional PUT arrived.
    if (condition !== undefined && this.objects.get(path) !== objectBefore) {
      return this.#refusal(request, path) ?? [409, 'ConditionalRequestConflict']
    }
    const metadata = Object.entries(request.headers).filter(([name]) =>
      name.startsWith('x-amz-meta-'),
    )
    this.put(path, body, Object.fromEntries(metadata) as Record<string, string>)
    return [200]
  }

  /** The outcome of a write whose condition is not met; undefined if no condition is violated. */
  #refusal({ headers }: IncomingMessage, path: string): Outcome | undefined {
    const object = this.objects.get(path)
    if (headers['if-none-match'] === '*' && object !== undefined) return preconditionFailed
    const etag = headers['if-match']
    if (etag === undefined) return undefined
    if (object === undefined) return [404, 'NoSuchKey']
    return object.etag === etag ? undefined : preconditionFailed
  }
}
