/** An observer of a broker that records each refusal of a client or of a request. */
import type { Observer, RefusalNotice } from '@holdfast/server/internal'

export class RefusalRecorder implements Observer {
  /** All refusals, in order. */
  readonly all: RefusalNotice[] = []

  onMessage(): void {}
  onEffect(): void {}
  onFlushed(): void {}

  onRefused(notice: RefusalNotice): void {
    this.all.push(notice)
  }

  /** The cause of each refusal, in order. */
  get causes(): string[] {
    return this.all.map(({ cause }) => cause)
  }
}
