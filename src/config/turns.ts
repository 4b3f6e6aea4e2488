// Work that is done one piece after the other, in the order in which it was asked for.
//
// A piece of work may have to give its answer before all that it began has ended: see `hold`. Nobody can say how long that
// takes. So those who wait are refused then, rather than kept waiting, and so are newcomers, until it has ended.

interface Waiting {
  start: () => void;
  refuse: (error: Error) => void;
}

/** There is no turn to be had now. */
export class NoTurn extends Error {}

export class Turns {
  readonly #limit: number;
  readonly #waiting: Waiting[] = [];
  #isBusy = false;
  /** Why nothing may begin: one for each thing that has not ended. */
  readonly #holds = new Set<{ why: string }>();

  /** @param limit how many may wait */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @throws NoTurn, and what the work throws */
  take<T>(work: () => Promise<T>): Promise<T> {
    const [hold] = this.#holds;
    if (hold) return Promise.reject(new NoTurn(hold.why));
    if (this.#waiting.length >= this.#limit)
      return Promise.reject(new NoTurn(`${this.#limit} are waiting for their turn already`));
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ start: () => this.#run(work, resolve, reject), refuse: reject });
      this.#next();
    });
  }

  /** Nothing else begins until `rest` is settled. @param why told to those who are refused */
  hold(rest: Promise<unknown>, why: string): void {
    const hold = { why };
    this.#holds.add(hold);
    const isOver = () => {
      this.#holds.delete(hold);
      this.#next();
    };
    rest.then(isOver, isOver);
    for (const { refuse } of this.#waiting.splice(0)) refuse(new NoTurn(why));
  }

  #run<T>(work: () => Promise<T>, resolve: (result: T) => void, reject: (error: unknown) => void): void {
    this.#isBusy = true;
    const isOver = () => {
      this.#isBusy = false;
      this.#next();
    };
    // What the work throws before its first await is as good as a rejection.
    new Promise<T>((begin) => begin(work())).then(resolve, reject).then(isOver);
  }

  #next(): void {
    if (!this.#isBusy && this.#holds.size === 0) this.#waiting.shift()?.start();
  }
}
