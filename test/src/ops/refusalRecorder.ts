/**
 * An observer for tests that records every refusal.
 */
import type { Observer, RefusalNotice } from '@holdfast/server/internal'

export class RefusalRecorder implements Observer {
  readonly all: RefusalNotice[] = []

  onMessage(): void {}
  onEffect(): void {}
  onFlushed(): void {}

  onRefused(notice: RefusalNotice): void {
    this.all.push(notice)
  }

  get causes(): string[] {
    return this.all.map(({ cause }) => cause)
  }
}
