// What a peer, or somebody on the way, may do to an ESP packet, and under which name it is dropped for that.

import { mendChecksum, oneOf, type Random } from "../esp/random.js";
import { endlessPadding, shapeOf, textOf } from "./forge.js";
import { UDP } from "./packets.js";
import type { SitesSa } from "./sites.js";

export const DEFECTS = [
  "dummy",
  "next header",
  "inner",
  "padding",
  "pad length",
  "endless padding",
  "SPI",
  "ICV",
  "address",
  "length",
  "outer header",
] as const;
export type Defect = (typeof DEFECTS)[number] | "none";

export interface Content {
  head: Uint8Array;
  /** Where in the head it is named what follows. */
  field: number;
  payload: Uint8Array;
  nextHeader: number;
}

/** @returns the counter, if the content is spoilt; not every SA can have every defect */
export function spoilContent(
  content: Content,
  sa: SitesSa,
  defect: Defect,
  random: Random,
): string | undefined {
  const isTunnel = sa.tunnel !== undefined;
  if (defect === "dummy") {
    content.nextHeader = 59;
    return "dummies";
  }
  if (defect === "next header") {
    if (!isTunnel && sa.protocol === undefined) return undefined;
    content.nextHeader = isTunnel ? oneOf(random, UDP, 0, 50) : oneOf(random, 4, 41, 50, 255);
    return isTunnel ? "drop.bad_next_header" : "drop.selectors";
  }
  if (defect !== "inner") return undefined;
  if (isTunnel) {
    content.payload = content.payload.slice();
    if (random(2) === 0) content.payload[0] ^= 0x30;
    else content.payload[2] = 0xff;
    return "drop.bad_inner";
  }
  if (!sa.isSix) return undefined;
  // An extension header that is not there as a whole.
  const payload = Uint8Array.of(UDP, oneOf(random, 1, 9, 255), 1, 4, 0, 0, 0, 0);
  content.nextHeader = oneOf(random, 0, 60, 43);
  content.payload = random(3) === 0 ? payload.slice(0, random(8)) : payload;
  return "drop.bad_inner";
}

/** The content as ESP's text, spoilt or not, and the IV that goes with it if that is of importance. */
export function spoilText(
  { payload, nextHeader }: Content,
  ciphers: string,
  defect: Defect,
  random: Random,
): { text: Uint8Array; iv?: Uint8Array; reason?: string } {
  const { block } = shapeOf(ciphers);
  const reason = "drop.bad_padding";
  if (defect === "endless padding" && block === 4)
    return { ...endlessPadding(4 + 4 * random(50), nextHeader), reason };
  const text = textOf(payload, nextHeader, block, random(3) === 0 ? random(40) : 0);
  const last = text.length - 2;
  const pad = text[last];
  if (defect === "padding" && pad > 0) {
    text[last - 1 - random(pad)] ^= 1 + random(255);
    return { text, reason };
  }
  if (defect === "pad length" && text.length < 250) {
    text[last] = text.length - 1 + random(255 - text.length);
    return { text, reason };
  }
  return { text };
}

/** Spoils what ESP shows to everybody, or what stands in front of it. @returns as `spoilContent` */
export function spoilPacket(
  packet: Uint8Array,
  espLength: number,
  { tunnel, isSix }: SitesSa,
  defect: Defect,
  random: Random,
): string | undefined {
  if (defect === "SPI") return "drop.no_sa";
  if (defect === "ICV") {
    packet[packet.length - 1 - random(espLength - 8)] ^= 1 << random(8);
    return "drop.bad_icv";
  }
  if (defect !== "address" || tunnel !== undefined) return undefined;
  // An SA in transport mode does not authenticate the addresses; its selectors have no others.
  packet[isSix ? 8 + random(32) : 12 + random(8)] ^= 1 << random(8);
  if (!isSix) mendChecksum(packet);
  return "drop.selectors";
}

/**
 * Spoils what leads to ESP.
 * @param at where ESP begins
 * @returns the counter
 */
export function spoilOuter(
  packet: Uint8Array,
  at: number,
  { inUdp, isSix }: SitesSa,
  random: Random,
): string {
  const udp = at - 8;
  const kind = random(4);
  if (inUdp && kind === 0) {
    const length = oneOf(random, 0, 7, packet.length - udp + 1, 0xffff);
    packet.set([length >>> 8, length & 0xff], udp + 4);
    return "classify.drop.bad_header";
  }
  if (inUdp && kind === 1) {
    packet[udp + 2] ^= 1;
    return "classify.drop.not_esp";
  }
  if (isSix) {
    // The first extension header, if there is one, goes on beyond the packet.
    const isExtension = [0, 43, 60].includes(packet[6]);
    if (isExtension) packet[41] = 255;
    else packet[6] = oneOf(random, 44, 59, 135);
    return "classify.drop.not_esp";
  }
  if (kind === 2) {
    packet[10] ^= 1;
    return "classify.drop.bad_checksum";
  }
  packet[6] ^= 0x20;
  mendChecksum(packet);
  return "classify.drop.fragment";
}
