// What is known of static SAs while they are in use, in the words of ietf-i2nsf-ikeless.

import { canonicalAddress } from "./decode.js";
import { type Ikeless, readSadName, sadOf, type Way } from "./entries.js";
import type { Lists } from "./view.js";

/** The part of an entry of `/gateway-state/sa` that is read here. */
export interface SaState {
  direction: string;
  /** Hexadecimal. */
  spi: string;
  src?: string;
  dst?: string;
  packets?: string;
  bytes?: string;
  sequence?: string | number | bigint;
  "replay-window"?: number;
  age?: number;
  /** Missing when the SA has not been used. */
  idle?: number;
}

const LARGEST32 = 0xffff_ffff;

/** The same view in which each entry of the SAD whose SA is in use has its `ipsec-sa-state`. */
export function withState(view: Ikeless, lists: Lists, sas: readonly SaState[]): Ikeless {
  if (sas.length === 0) return view;
  const found = new Map(
    sas.map((sa) => [
      keyOf(sa.direction, Number.parseInt(sa.spi, 16), sa.direction === "in" ? sa.src : sa.dst),
      sa,
    ]),
  );
  const gateways = new Map(lists.route.map(({ id, gateway }) => [id, gateway.ip]));
  const routes = {
    in: new Map(lists["inbound-sa"].map(({ spi, route }) => [spi, route])),
    out: new Map(lists["outbound-sa"].map(({ spi, route }) => [spi, route])),
  };
  const entries = sadOf(view).map((entry) => {
    const name = readSadName(entry.name);
    const route = name && routes[name.way].get(name.spi);
    const sa = name && found.get(keyOf(name.way, name.spi, gateways.get(route ?? "")));
    return name && sa ? { ...entry, "ipsec-sa-state": stateOf(name.way, sa) } : entry;
  });
  return { ...view, sad: { "sad-entry": entries } };
}

function keyOf(direction: string, spi: number, gateway: string | undefined): string {
  return `${direction} ${spi} ${canonicalAddress(gateway ?? "") ?? ""}`;
}

function stateOf(way: Way, sa: SaState): object {
  const sequence = sa.sequence === undefined ? undefined : BigInt(sa.sequence);
  const window = sa["replay-window"] ?? 0;
  const lower = sequence === undefined || sequence < BigInt(window) ? 0n : sequence - BigInt(window) + 1n;
  return {
    "sa-lifetime-current": {
      ...(sa.age !== undefined && { time: sa.age }),
      ...(sa.bytes !== undefined && { bytes: sa.bytes }),
      // The model has 32 bits for it.
      ...(sa.packets !== undefined && { packets: Math.min(Number(sa.packets), LARGEST32) }),
      ...(sa.idle !== undefined && { idle: sa.idle }),
    },
    ...(sequence !== undefined && {
      "replay-stats": {
        ...(way === "in" &&
          window > 0 && { "replay-window": { w: window, t: String(sequence), b: String(lower) } }),
        "seq-number-counter": String(sequence),
      },
    }),
  };
}
