// The lock of an SA: whoever has it may look at what the SA has carried, and at its replay window, and change both, without
// another worker in between. Taken once for a run of packets of the same SA: by inbound SAs always, when the run is decrypted; by
// outbound ones if they have a limit of bytes or packets, from the first packet that is framed to the last one. A worker has one
// of them at a time, so that there is no deadlock: a breath's outbound runs begin when its inbound ones have ended.
//
// It stands in the highest bits of the SA's flags, on the cache line that every packet of the SA needs anyway, and it names
// its owner: the number of the worker, and which life of that worker it is. A worker that is killed while it has the lock
// can be told from one that is slow, by the SAD's header: it has begun another life, or the supervisor has heard of its end,
// or its process has ended. Then whoever waits takes the lock away from it, by one atomic exchange of the whole word. A
// worker that is killed leaves a window and counters that are right, whatever it was doing (replay.ts).

import { hasEnded, ppoll } from "../native/libc.js";
import type { Sad } from "./sad.js";
import { LOCK_BITS, LOCK_SHIFT, saSlot } from "./sad-layout.js";

const FLAGS = saSlot.at.flags >>> 2;
// Names of this module's own, which V8 compiles in.
const HELD = LOCK_BITS;
const FREE = ~LOCK_BITS;
/** Looks at a lock that is taken, some 10 ns each, before the owner is looked at. */
const PATIENCE = 1000;
/** Bits of a worker's life that the lock tells. */
const LIFE_MASK = 0x1ff;
const WORKER_MASK = 0x1f;
const WORKER_BITS = 5;

export class SaLock {
  private readonly words: Int32Array;
  private readonly mine: number;
  /** 50 µs. */
  private readonly nap = BigInt64Array.of(0n, 50_000n);

  /** @param worker that has begun its life: see `Sad.beginLife` */
  constructor(
    private readonly sad: Sad,
    worker: number,
  ) {
    this.words = sad.atomics;
    this.mine = (((sad.workerLife(worker) & LIFE_MASK) << WORKER_BITS) | (worker + 1)) << LOCK_SHIFT;
  }

  /** @param slot word index of the SA's slot */
  take(slot: number): void {
    const { words, mine } = this;
    const at = slot + FLAGS;
    const flags = words[at];
    if ((flags & HELD) !== 0 || Atomics.compareExchange(words, at, flags, flags | mine) !== flags)
      this.wait(at);
  }

  release(slot: number): void {
    Atomics.and(this.words, slot + FLAGS, FREE);
  }

  private wait(at: number): void {
    const { words, mine } = this;
    for (let looks = 1; ; looks++) {
      const flags = Atomics.load(words, at);
      if ((flags & HELD) === 0) {
        if (Atomics.compareExchange(words, at, flags, flags | mine) === flags) return;
      } else if (looks % PATIENCE === 0) {
        if (this.isDead(flags & HELD)) {
          // Who has died changes its flags no more, but others do: then once more.
          if (Atomics.compareExchange(words, at, flags, (flags & FREE) | mine) === flags) return;
        } else ppoll(null, 0, this.nap, null);
      }
    }
  }

  /** Has the worker ended that has left this in the flags? */
  private isDead(owner: number): boolean {
    const { sad } = this;
    const worker = ((owner >>> LOCK_SHIFT) & WORKER_MASK) - 1;
    const life = (owner >>> (LOCK_SHIFT + WORKER_BITS)) & LIFE_MASK;
    if ((sad.workerLife(worker) & LIFE_MASK) !== life) return true;
    const pid = sad.workerPid(worker);
    return pid === 0 || hasEnded(pid);
  }
}
