/**
 * An observer for tests: keeps who was turned away and why.
 */
import type { Observer, RefusalNotice } from '@holdfast/server/internal'

export class Notices implements Observer {
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
