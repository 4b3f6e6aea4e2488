// A set of IP addresses that is asked once a packet: no allocation, whatever the answer.

import type { IpAddress } from "./address.js";

export class LocalAddresses {
  /** IPv4 addresses as signed 32-bit numbers. */
  readonly #ipv4 = new Set<number>();
  /** IPv6 addresses by the sum of their words. */
  readonly #ipv6 = new Map<number, Uint8Array[]>();

  set(address: IpAddress, present: boolean): void {
    const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
    if (address.length === 4) {
      if (present) this.#ipv4.add(view.getInt32(0));
      else this.#ipv4.delete(view.getInt32(0));
      return;
    }
    const key = sum(view, 0);
    const others = (this.#ipv6.get(key) ?? []).filter((known) =>
      known.some((byte, i) => byte !== address[i]),
    );
    if (present) others.push(address.slice());
    if (others.length > 0) this.#ipv6.set(key, others);
    else this.#ipv6.delete(key);
  }

  /** Whether the IPv4 address at `offset` is in the set. */
  has4(view: DataView, offset: number): boolean {
    return this.#ipv4.has(view.getInt32(offset));
  }

  /** Whether the IPv6 address at `offset` is in the set. */
  has6(view: DataView, bytes: Uint8Array, offset: number): boolean {
    const candidates = this.#ipv6.get(sum(view, offset));
    if (candidates === undefined) return false;
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[i];
      let n = 0;
      while (n < 16 && candidate[n] === bytes[offset + n]) n++;
      if (n === 16) return true;
    }
    return false;
  }
}

function sum(view: DataView, at: number): number {
  return (view.getInt32(at) + view.getInt32(at + 4) + view.getInt32(at + 8) + view.getInt32(at + 12)) | 0;
}
