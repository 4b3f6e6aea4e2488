// So many a second, and no more than so many at once.

export class TokenBucket {
  private tokens: number;

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
  ) {
    this.tokens = burst;
  }

  get isEmpty(): boolean {
    return this.tokens < 1;
  }

  /** False when there have been too many. */
  take(): boolean {
    if (this.isEmpty) return false;
    this.tokens--;
    return true;
  }

  refill(milliseconds: number): void {
    this.tokens = Math.min(this.burst, this.tokens + (this.perSecond * milliseconds) / 1000);
  }
}
