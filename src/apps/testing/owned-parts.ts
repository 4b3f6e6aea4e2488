// What the apps of an owned link are given in tests: frames, counters by name, a station with addresses, and links whose
// packets can be looked at. `done` sees to it that no frame is lost.

import assert from "node:assert/strict";
import type { AppContext, CounterTexts } from "../../engine/app.js";
import { Link } from "../../engine/link.js";
import { Spd } from "../../ipsec/spd.js";
import { SpdIndex } from "../../ipsec/spd-index.js";
import { type PolicyOptions, policyRequest } from "../../ipsec/testing/requests.js";
import { Frames, NONE } from "../../memory/frames.js";
import { makeScratch } from "../../memory/testing/scratch.js";
import { type IpAddress, parseAddress } from "../../net/address.js";
import { fold, pseudoHeader4, pseudoHeader6, sum16 } from "../../net/checksum.js";
import { parseInterfaceAddress } from "../../net/interface-address.js";
import { Station } from "../station.js";

export const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
export const PEER = Uint8Array.of(2, 0, 0, 0, 0, 2);
export const THIRD = Uint8Array.of(2, 0, 0, 0, 0, 3);
export const BROADCAST = new Uint8Array(6).fill(0xff);

export const address = (text: string): IpAddress => {
  const parsed = parseAddress(text);
  assert.ok(parsed, text);
  return parsed;
};
export const OURS4 = address("192.0.2.1");
export const OURS6 = address("2001:db8::1");
export const PEER4 = address("192.0.2.2");
export const PEER6 = address("2001:db8::2");

/** A worker's index of the SPD with these policies in it. */
export function policyIndex(...policies: PolicyOptions[]): SpdIndex {
  const scratch = makeScratch("owned");
  const spd = Spd.create(scratch.file("spd"), 8);
  scratch.remove();
  policies.forEach((policy, entry) => {
    spd.write(entry, policyRequest(policy), entry, NONE, 0n);
  });
  return new SpdIndex(spd);
}

export class OwnedParts {
  readonly frames: Frames;
  readonly context: AppContext;
  readonly station: Station;
  readonly #counters = new Map<string, { names: string[]; values: Float64Array }>();

  constructor(capacity = 1024) {
    this.frames = new Frames(capacity);
    this.context = {
      frames: this.frames,
      counters: (app: string, texts: CounterTexts) => {
        const names = Object.keys(texts);
        const values = new Float64Array(names.length);
        this.#counters.set(app, { names, values });
        return values;
      },
    };
    const addresses = ["192.0.2.1/24", "2001:db8::1/64"].map(parseInterfaceAddress);
    this.station = new Station(addresses.filter((each) => each !== undefined));
    this.station.setMac(MAC);
  }

  link(): Link {
    return new Link(this.frames);
  }

  /** Puts a packet into a frame. */
  frame(packet: Uint8Array): number {
    const frame = this.frames.from(packet);
    assert.ok(frame >= 0);
    return frame;
  }

  /** Takes everything off a link. */
  take(link: Link): Uint8Array[] {
    const packets: Uint8Array[] = [];
    while (link.readable > 0) {
      const frame = link.receive();
      packets.push(this.frames.copy(frame));
      this.frames.free(frame);
    }
    return packets;
  }

  /** What an app has counted, without zeros. */
  counted(app: string): Record<string, number> {
    const { names, values } = this.#counters.get(app) ?? { names: [], values: [] };
    return Object.fromEntries(names.map((name, i) => [name, values[i]]).filter(([, value]) => value !== 0));
  }

  /** Every frame is free again. */
  done(): void {
    assert.equal(this.frames.available, this.frames.capacity, "frames were lost, or freed twice");
  }
}

/** Writes a packet into memory of its own. */
export function written(write: (view: DataView, bytes: Uint8Array) => number): Uint8Array {
  const bytes = new Uint8Array(2048);
  return bytes.slice(0, write(new DataView(bytes.buffer), bytes));
}

export interface IpOptions {
  to?: IpAddress;
  from?: IpAddress;
  /** Ethernet addresses. */
  station?: Uint8Array;
  sender?: Uint8Array;
  protocol: number;
  payload: readonly number[];
  /** IPv4: flags and offset. */
  fragment?: number;
  ttl?: number;
  /** Bytes of padding behind the packet. */
  padding?: number;
}

/** An Ethernet frame with an IP packet of the family of its addresses, whose header checksum is right. */
export function ipFrame(options: IpOptions): Uint8Array {
  const { to = OURS4, station = MAC, sender = PEER, protocol, payload, fragment = 0, ttl = 64 } = options;
  const from = options.from ?? (to.length === 4 ? PEER4 : PEER6);
  const u16 = (value: number) => [value >>> 8, value & 0xff];
  const isIpv4 = to.length === 4;
  const header = isIpv4
    ? [0x45, 0, ...u16(20 + payload.length), 0, 1, ...u16(fragment), ttl, protocol, 0, 0, ...from, ...to]
    : [0x60, 0, 0, 0, ...u16(payload.length), protocol, ttl, ...from, ...to];
  const type = isIpv4 ? [8, 0] : [0x86, 0xdd];
  const padding = new Array<number>(options.padding ?? 0).fill(0xee);
  const bytes = Uint8Array.from([...station, ...sender, ...type, ...header, ...payload, ...padding]);
  if (isIpv4) new DataView(bytes.buffer).setUint16(24, fold(sum16(new DataView(bytes.buffer), 14, 20, 0)));
  return bytes;
}

/** The same with an ICMP message, whose checksum is worked out. */
export function icmpFrame(options: Omit<IpOptions, "protocol">): Uint8Array {
  const isIpv4 = (options.to ?? OURS4).length === 4;
  const packet = ipFrame({ ...options, protocol: isIpv4 ? 1 : 58 });
  const view = new DataView(packet.buffer);
  const start = 14 + (isIpv4 ? 20 : 40);
  const { length } = options.payload;
  view.setUint16(start + 2, 0);
  const pseudo = isIpv4 ? 0 : pseudoHeader6(view, 14, 58, length);
  view.setUint16(start + 2, fold(sum16(view, start, length, pseudo)));
  return packet;
}

/** The IP packet in an Ethernet frame, Ethernet's padding included. */
export const ipOf = (frame: Uint8Array): Uint8Array => frame.slice(14);

/** UDP or TCP: is the checksum at `field` of the transport header right? The frame has no options and no padding. */
export function transportSum(frame: Uint8Array): number {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const isIpv4 = frame[12] === 8;
  const start = 14 + (isIpv4 ? 20 : 40);
  const length = frame.length - start;
  const protocol = frame[isIpv4 ? 23 : 20];
  const pseudo = (isIpv4 ? pseudoHeader4 : pseudoHeader6)(view, 14, protocol, length);
  return fold(sum16(view, start, length, pseudo));
}

export function udp(source: number, destination: number, payload: readonly number[]): number[] {
  const u16 = (value: number) => [value >>> 8, value & 0xff];
  return [...u16(source), ...u16(destination), ...u16(8 + payload.length), 0, 0, ...payload];
}
