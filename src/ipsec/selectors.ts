// Traffic selectors (RFC 4301 §4.4.1.1, RFC 7296 §3.13.1): writing them into shared memory, and matching packets.

import { NONE } from "../memory/frames.js";
import type { Region } from "../memory/region.js";
import type { Selector } from "./kernel.js";
import { SELECTOR_SIZE, selectorEntry } from "./sad-layout.js";

const at = selectorEntry.at;
const FROM = at.from >>> 2;
const TO = at.to >>> 2;
/** The rest of an address is three words, of which word 1 to 3 of the address are counted from here. */
const FROM_REST = (at.fromRest >>> 2) - 1;
const TO_REST = (at.toRest >>> 2) - 1;

/** Port of a packet whose transport header is not there: a later fragment (RFC 4301: OPAQUE). */
export const OPAQUE = NONE;
const NO_PORT = OPAQUE;

/** Writes the first word of an address at one place, and the three others, 0 where there are none, from word 1 on at `rest`. */
function writeAddress(words: Uint32Array, first: number, rest: number, address: Uint8Array): void {
  for (let i = 0; i < 4; i++) {
    const at = 4 * i;
    words[i === 0 ? first : rest + i] =
      at < address.length
        ? (address[at] << 24) | (address[at + 1] << 16) | (address[at + 2] << 8) | address[at + 3]
        : 0;
  }
}

/** Writes a selector at a byte offset of a region. */
export function writeSelector(region: Region, offset: number, selector: Selector): void {
  const { view, words } = region;
  view.setUint16(offset + at.family, selector.from.length === 4 ? 4 : 6, true);
  view.setUint16(offset + at.protocol, selector.protocol, true);
  view.setUint16(offset + at.fromPort, selector.fromPort, true);
  view.setUint16(offset + at.toPort, selector.toPort, true);
  const entry = offset >>> 2;
  writeAddress(words, entry + FROM, entry + FROM_REST, selector.from);
  writeAddress(words, entry + TO, entry + TO_REST, selector.to);
}

export function readSelector(region: Region, offset: number): Selector {
  const { view } = region;
  const length = view.getUint16(offset + at.family, true) === 4 ? 4 : 16;
  const address = (start: number, rest: number) => {
    const bytes = new Uint8Array(16);
    const target = new DataView(bytes.buffer);
    target.setUint32(0, view.getUint32(offset + start, true));
    for (let i = 0; i < 3; i++) target.setUint32(4 + 4 * i, view.getUint32(offset + rest + 4 * i, true));
    return bytes.slice(0, length);
  };
  return {
    from: address(at.from, at.fromRest),
    to: address(at.to, at.toRest),
    protocol: view.getUint16(offset + at.protocol, true),
    fromPort: view.getUint16(offset + at.fromPort, true),
    toPort: view.getUint16(offset + at.toPort, true),
  };
}

/** Does the selector look beyond the addresses? */
export function hasTransport(selector: Selector): boolean {
  return selector.protocol !== 0 || selector.fromPort !== 0 || selector.toPort !== 0xffff;
}

/** The same of the selector at word index `entry`. */
export function asksForTransport(words: Uint32Array, entry: number): boolean {
  return words[entry] >>> 16 !== 0 || words[entry + 1] !== 0xffff_0000;
}

/** First and last address of the selector at word index `entry`. */
export function addressRange(words: Uint32Array, entry: number): { from: Uint8Array; to: Uint8Array } {
  const isIpv4 = (words[entry] & 0xffff) === 4;
  const address = (first: number, rest: number) => {
    const bytes = new Uint8Array(isIpv4 ? 4 : 16);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, words[first]);
    for (let i = 1; i < bytes.length >>> 2; i++) view.setUint32(4 * i, words[rest + i]);
    return bytes;
  };
  return { from: address(entry + FROM, entry + FROM_REST), to: address(entry + TO, entry + TO_REST) };
}

/** Does an IPv4 address, as a signed number or not, lie in the entry at word index `entry`? */
export function containsIpv4(words: Uint32Array, entry: number, address: number): boolean {
  const number = address >>> 0;
  return (words[entry] & 0xffff) === 4 && number >= words[entry + FROM] && number <= words[entry + TO];
}

/** Does the IPv6 address at `offset` of `view` lie in the entry? */
export function containsIpv6(words: Uint32Array, entry: number, view: DataView, offset: number): boolean {
  if ((words[entry] & 0xffff) !== 6) return false;
  return (
    compareIpv6(words, entry + FROM, entry + FROM_REST, view, offset) <= 0 &&
    compareIpv6(words, entry + TO, entry + TO_REST, view, offset) >= 0
  );
}

/** Compares the word at `first` and three behind `rest` with an IPv6 address: negative when the words are the lower ones. */
function compareIpv6(
  words: Uint32Array,
  first: number,
  rest: number,
  view: DataView,
  offset: number,
): number {
  for (let i = 0; i < 4; i++) {
    const mine = words[i === 0 ? first : rest + i];
    const other = view.getUint32(offset + 4 * i);
    if (mine !== other) return mine < other ? -1 : 1;
  }
  return 0;
}

/**
 * Do protocol and port match the entry? For ICMP the port is type × 256 + code.
 * @param port OPAQUE for a fragment without transport header; it matches only where ports do not matter
 */
export function matchesTransport(words: Uint32Array, entry: number, protocol: number, port: number): boolean {
  const wanted = words[entry] >>> 16;
  if (wanted !== 0 && wanted !== protocol) return false;
  const ports = words[entry + 1];
  const from = ports & 0xffff;
  const to = ports >>> 16;
  if (from === 0 && to === 0xffff) return true;
  if (from > to) return port === NO_PORT;
  return port !== NO_PORT && port >= from && port <= to;
}

export const SELECTOR_WORDS = SELECTOR_SIZE >>> 2;
