// Policies that are bound to an interface (swanctl.conf: `interface`): what they protect, or let pass, must leave by that
// one. The SPD holds the interface's name; here it becomes the port that has it.

import type { Spd } from "../ipsec/spd.js";
import { policyEntry } from "../ipsec/spd-layout.js";

const INTERFACE = policyEntry.at.interface;
const NAME = 16;

export class Bindings {
  private readonly spd: Spd;
  /** Names of the ports, as they stand in the SPD. */
  private readonly names: readonly Uint8Array[];

  constructor(spd: Spd, ports: readonly { name: string }[]) {
    this.spd = spd;
    this.names = ports.map(({ name }) => {
      const bytes = new Uint8Array(NAME);
      bytes.set(Buffer.from(name, "latin1").subarray(0, NAME - 1));
      return bytes;
    });
  }

  /** May what the entry decides about leave by this port? */
  allows(entry: number, port: number): boolean {
    const { words, region } = this.spd;
    const offset = this.spd.offset(entry) + INTERFACE;
    if (words[offset >>> 2] === 0) return true;
    const name = this.names[port];
    for (let i = 0; i < NAME; i++) if (name[i] !== region.bytes[offset + i]) return false;
    return true;
  }
}
