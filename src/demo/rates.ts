// Packets and bits a second through a gateway, from the counters of its SAs. SAs come and go with every rekey, so rates
// are sums over the growth of each one, and not the growth of a sum.

export interface SaSample {
  spi: string;
  direction: "in" | "out";
  packets: number;
  bytes: number;
}

export interface Rates {
  packetsIn: number;
  packetsOut: number;
  bitsIn: number;
  bitsOut: number;
}

export const noRates: Rates = { packetsIn: 0, packetsOut: 0, bitsIn: 0, bitsOut: 0 };

export class RateMeter {
  #last = new Map<string, SaSample>();
  #time: number | undefined;
  #inboundSpis = new Set<string>();

  /** Takes the SAs as they are at `now` (milliseconds); a second between two calls is a good distance. */
  update(now: number, sas: SaSample[]): Rates {
    const rates = { ...noRates };
    const seconds = this.#time === undefined ? 0 : (now - this.#time) / 1000;
    const current = new Map<string, SaSample>();
    for (const sa of sas) {
      const key = `${sa.direction} ${sa.spi}`;
      current.set(key, sa);
      if (sa.direction === "in") this.#inboundSpis.add(sa.spi);
      if (seconds <= 0) continue;
      // A new SA has grown from nothing.
      const before = this.#last.get(key);
      const packets = (sa.packets - (before?.packets ?? 0)) / seconds;
      const bits = (8 * (sa.bytes - (before?.bytes ?? 0))) / seconds;
      if (sa.direction === "in") {
        rates.packetsIn += packets;
        rates.bitsIn += bits;
      } else {
        rates.packetsOut += packets;
        rates.bitsOut += bits;
      }
    }
    this.#last = current;
    this.#time = now;
    return rates;
  }

  /** Inbound SAs that came after the first one. */
  get rekeys(): number {
    return Math.max(0, this.#inboundSpis.size - 1);
  }
}
