// CLOCK_MONOTONIC, which all processes of a machine share: read into memory that is there already.

import { CLOCK_MONOTONIC, clock_gettime } from "../native/libc.js";

export class MonotonicClock {
  private readonly timespec = new Int32Array(4);
  /** As of the last `read`. */
  seconds = 0;
  milliseconds = 0;

  constructor() {
    this.read();
  }

  /** Takes the time. Seconds are right for 68 years of uptime; milliseconds count modulo 2^31. */
  read(): void {
    clock_gettime(CLOCK_MONOTONIC, this.timespec);
    this.seconds = this.timespec[0];
    this.milliseconds =
      (Math.imul(this.timespec[0], 1000) + ((this.timespec[2] / 1_000_000) | 0)) & 0x7fffffff;
  }
}
