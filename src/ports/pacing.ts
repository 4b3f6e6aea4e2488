// The pace at which datagrams are handed to programs on this host.
//
// A socket holds some 250 small datagrams, unless its program has asked for more; what comes on top of that is lost. A worker
// that gets its processor a few milliseconds late has many more than that in its ring, and hands them over within one. The
// program, which the first of them woke, as often as not waits for that very processor meanwhile. So a worker that has handed over
// many in a row pauses, and lets it run. Waking up, the worker does not take the processor from who has it: that may well
// be the program, in the middle of reading. (Yielding would not do: where programs are scheduled in groups, by session or by
// service, a process yields only to its own.)
//
// TCP is not counted: it sends no more than its receiver has room for.

import { ppoll } from "../native/libc.js";
import { SCHED_BATCH, SCHED_OTHER, sched_getscheduler, sched_setscheduler } from "../native/scheduling.js";

const TCP = 6;
/** Datagrams in a row: as many as a train has at most, a quarter of what a socket holds. */
const LOT = 64;
/** Nanoseconds, to which the kernel adds up to 50,000 (PR_SET_TIMERSLACK). */
const PAUSE = 20_000n;
/** Breaths without datagrams after which the row is over. The worker sleeps then, or has a processor to itself. */
const QUIET = 3;

export class Pacing {
  private row = 0;
  private quiet = 0;
  private readonly time = BigInt64Array.of(0n, PAUSE);
  /** struct sched_param: the policies that are used here have no priority. */
  private readonly parameters = new Int32Array(1);

  /** @param pause replaces the pause, for tests */
  constructor(private readonly pause: () => void = () => this.letRun()) {}

  /** To be called in breaths that bring nothing for this host. */
  rest(): void {
    if (++this.quiet === QUIET) this.row = 0;
  }

  /** To be called when packets have been handed over: `count` of them, of one IP protocol. May take a pause. */
  handed(count: number, protocol: number): void {
    this.quiet = 0;
    if (protocol === TCP) return;
    this.row += count;
    if (this.row < LOT) return;
    this.row = 0;
    this.pause();
  }

  private letRun(): void {
    // Whoever gave the worker another policy wants it to have that one.
    const isOrdinary = sched_getscheduler(0) === SCHED_OTHER;
    if (isOrdinary) sched_setscheduler(0, SCHED_BATCH, this.parameters);
    ppoll(null, 0, this.time, null);
    if (isOrdinary) sched_setscheduler(0, SCHED_OTHER, this.parameters);
  }
}
