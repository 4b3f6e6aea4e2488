// Slows down those who guess: after some failures from one address, no token from there is looked at for a while, which
// doubles with each further failure. A bounded number of addresses is remembered; IPv6 clients count by their /64.

const free = 5;
const firstPause = 1_000;
const longestPause = 60_000;
const mostAddresses = 4_096;

interface Record {
  failures: number;
  /** Time (ms) until which nothing is looked at. */
  until: number;
}

export class Throttle {
  readonly #records = new Map<string, Record>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Milliseconds that an address still has to wait; 0 when it has not. */
  wait(address: string): number {
    return Math.max(0, (this.#records.get(network(address))?.until ?? 0) - this.#now());
  }

  failed(address: string): void {
    const key = network(address);
    const now = this.#now();
    const record = this.#records.get(key);
    // Who has been quiet for long enough begins anew.
    const failures = record && now - record.until < 10 * longestPause ? record.failures + 1 : 1;
    const pause = failures <= free ? 0 : Math.min(longestPause, firstPause * 2 ** (failures - free - 1));
    this.#records.delete(key);
    this.#records.set(key, { failures, until: now + pause });
    if (this.#records.size > mostAddresses) {
      const [oldest] = this.#records.keys();
      if (oldest !== undefined) this.#records.delete(oldest);
    }
  }

  succeeded(address: string): void {
    this.#records.delete(network(address));
  }
}

function network(address: string): string {
  if (!address.includes(":") || address.startsWith("::ffff:")) return address;
  const [head = "", tail] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  return [...left, ...Array<string>(zeros).fill("0"), ...right].slice(0, 4).join(":");
}
