// The highest rate that a tunnel carries, found by trying.

const allowedLoss = 0.01;
const firstRate = 4000;
/** A rate is given up when it fails so many times: once may be a hiccup of the machine. */
const attempts = 2;
/** Halvings after the doubling: the result is within 1/16 of what the search found passable. */
const halvings = 4;

export interface Probe {
  passes: boolean;
  /** Datagrams a second that arrived. */
  arrived: number;
  /** The sender itself could not keep up with the rate asked for. */
  saturated: boolean;
}

/** What a probe of `seconds` at `rate` shows. */
export function judge(rate: number, seconds: number, sent: number, received: number): Probe {
  return {
    passes: sent > 0 && sent - received < allowedLoss * sent,
    arrived: received / seconds,
    saturated: sent < 0.8 * rate * seconds,
  };
}

/**
 * The highest number of datagrams a second that arrives with less than the allowed loss. `once` tries one rate. The
 * search ends: each doubling asks for more than a sender can give at some point.
 */
export async function highestRate(once: (rate: number) => Promise<Probe>): Promise<number> {
  const probe = async (rate: number): Promise<Probe> => {
    let last = await once(rate);
    for (let i = 1; i < attempts && !last.passes; i++) last = await once(rate);
    return last;
  };
  let best = 0;
  let low = 0;
  let high = firstRate;
  for (; high <= 1 << 24; high *= 2) {
    const { passes, arrived, saturated } = await probe(high);
    if (!passes) break;
    best = Math.max(best, arrived);
    low = high;
    if (saturated) return best;
  }
  for (let i = 0; i < halvings; i++) {
    const rate = (low + high) / 2;
    const { passes, arrived } = await probe(rate);
    if (passes) {
      best = Math.max(best, arrived);
      low = rate;
    } else {
      high = rate;
    }
  }
  return best;
}
