// Two gateways with hosts of their own: SAs in transport mode between them, for all traffic of the hosts or for some
// protocols and ports of it, and tunnels beside those, by two public ports.

import assert from "node:assert/strict";
import type { App } from "../../src/engine/app.js";
import type { Encapsulate } from "../../src/ipsec/encapsulate.js";
import type { SaUsage } from "../../src/ipsec/kernel.js";
import { SaFlag } from "../../src/ipsec/sad-layout.js";
import { lastNumber } from "../../src/ipsec/sequence.js";
import type { SaOptions } from "../../src/ipsec/testing/requests.js";
import { suiteOf, suiteRequest } from "../../src/ipsec/testing/suites.js";
import {
  FAR,
  FAR_UPLINK,
  FAR_UPLINK6,
  FAR6,
  NEAR,
  NEAR6,
  type Side,
  TestGateway,
  UPLINK,
  UPLINK6,
} from "../esp/gateway.js";
import { ICMP, ICMPV6, TCP, UDP } from "./packets.js";

/** First and last; or only packets that have none. */
type Ports = [number, number] | "opaque";

export interface SitesSa {
  ciphers: string;
  /** Without extended sequence numbers. */
  short?: boolean;
  inUdp?: boolean;
  isSix?: boolean;
  uplink?: boolean;
  /** A tunnel to 10.<this>.0.0/16; transport mode without. */
  tunnel?: number;
  /** What it is for, in transport mode; everything without. */
  protocol?: number;
  near?: Ports;
  far?: Ports;
  /** Its policy has it leave by the public port alone. */
  isBound?: boolean;
  /** It may carry so much and no more: not that much comes, but it must look. */
  isLimited?: boolean;
  /** The last number that was used before. */
  last?: number;
}

/** The first of those whose selectors have it carries a packet: the ones for everything come last. */
export const sas: SitesSa[] = [
  {
    ciphers: "aes128gcm16",
    protocol: UDP,
    near: [1000, 1009],
    far: [2000, 2009],
    last: 2 ** 32 - 20,
    isLimited: true,
  },
  { ciphers: "aes256gcm16", protocol: TCP, far: [80, 80], inUdp: true, short: true, isBound: true },
  { ciphers: "chacha20poly1305", protocol: ICMP, far: [0x800, 0x800], inUdp: true, last: 2 ** 32 - 9 },
  { ciphers: "aes128gcm16", protocol: UDP, far: [53, 53], inUdp: true, uplink: true },
  {
    ciphers: "chacha20poly1305",
    protocol: TCP,
    near: [22, 22],
    short: true,
    uplink: true,
    last: 2 ** 31 - 9,
  },
  { ciphers: "aes256-sha512", protocol: UDP, near: "opaque", far: "opaque", uplink: true },
  { ciphers: "aes128gcm16", protocol: UDP, far: [2000, 2009], isSix: true, last: 2 ** 32 - 9 },
  { ciphers: "chacha20poly1305", protocol: TCP, near: [80, 80], isSix: true, inUdp: true },
  { ciphers: "aes192gcm16", protocol: ICMPV6, isSix: true, inUdp: true, uplink: true, short: true },
  { ciphers: "aes256-sha512", protocol: TCP, far: [443, 500], isSix: true, uplink: true, isLimited: true },
  { ciphers: "aes128-sha256", last: 2 ** 33 - 5 },
  { ciphers: "aes128-sha256", isSix: true, inUdp: true },
  { ciphers: "aes128gcm16", tunnel: 2, isBound: true },
  { ciphers: "chacha20poly1305", tunnel: 3, inUdp: true, uplink: true },
  { ciphers: "aes128gcm16", tunnel: 4, isSix: true, uplink: true, last: 2 ** 32 - 30 },
  { ciphers: "aes256-sha512", tunnel: 5 },
];
/** For more than its end points, by a policy of less weight: packets that it cannot protect. */
export const WIDE = 10;

/** SPIs of the SAs to the far end; from there; and of those that nobody there has, whose packets are forged. */
export const OUT = 0xc1000000;
export const IN = 0xc2000000;
export const FORGED = 0xc3000000;

const none = { rekey: 0n, life: 0n };
const everything = ["0.0.0.0/0", "::/0"];

/** Near end and far end. */
export function endsOf({ isSix, uplink }: SitesSa): [string, string] {
  if (uplink) return isSix ? [UPLINK6, FAR_UPLINK6] : [UPLINK, FAR_UPLINK];
  return isSix ? [NEAR6, FAR6] : [NEAR, FAR];
}

/** What of a packet selectors look at: its ports are undefined where it has none. */
export interface Traits {
  protocol: number;
  near: number | undefined;
  far: number | undefined;
}

function holds(ports: Ports | undefined, port: number | undefined): boolean {
  if (ports === undefined) return true;
  if (ports === "opaque") return port === undefined;
  return port !== undefined && port >= ports[0] && port <= ports[1];
}

/** Do the SA's selectors have a packet between its end points? */
export function covers({ protocol, near, far }: SitesSa, traits: Traits): boolean {
  if (protocol === undefined) return true;
  return protocol === traits.protocol && holds(near, traits.near) && holds(far, traits.far);
}

function selectorsOf(sa: SitesSa): [string, string] {
  if (sa.tunnel !== undefined) return ["10.1.0.0/16", `10.${sa.tunnel}.0.0/16`];
  const [near, far] = endsOf(sa);
  const bits = sa.isSix ? 128 : 32;
  const bracket = (ports: Ports | undefined) =>
    sa.protocol === undefined
      ? ""
      : `[${sa.protocol}${ports === undefined ? "" : `/${ports === "opaque" ? ports : ports.join("-")}`}]`;
  return [`${near}/${bits}${bracket(sa.near)}`, `${far}/${bits}${bracket(sa.far)}`];
}

function optionsOf(sa: SitesSa, spi: number): SaOptions {
  return {
    spi,
    mode: sa.tunnel === undefined ? 1 : 2,
    extendedSequenceNumbers: !sa.short,
    udpEncapsulation: sa.inUdp ?? false,
    ports: [4500, 4500],
    replayWindow: 64,
    ...(sa.isLimited && { lifetime: { time: none, bytes: none, packets: { rekey: 0n, life: 100_000n } } }),
    ...suiteRequest(suiteOf(sa.ciphers), spi),
  };
}

/** The gateway that is tested: this host, and networks behind Ethernet ports. */
export function makeNear(): TestGateway {
  const gateway = new TestGateway("ipsec-mb", { frames: 2048, tun: true, more: true, uplink: true });
  sas.forEach((sa, i) => {
    const [near, far] = endsOf(sa);
    const [from, to] = selectorsOf(sa);
    gateway.sa({ ...optionsOf(sa, OUT + i), src: near, dst: far, from: [from], to: [to] });
    if (sa.last !== undefined) gateway.goOn(OUT + i, sa.last);
    for (const spi of [IN + i, FORGED + i]) {
      gateway.sa({ ...optionsOf(sa, spi), inbound: true, src: far, dst: near, from: [to], to: [from] });
      if (sa.last !== undefined) gateway.goOn(spi, sa.last);
    }
    const mode = sa.tunnel === undefined ? 1 : 2;
    const bound = sa.isBound ? { interface: "public" } : {};
    gateway.policy({ mode, from, to, src: near, dst: far, espSpi: OUT + i, ...bound });
  });
  const network = "192.0.2.0/24";
  gateway.policy({ mode: 1, from: network, to: network, espSpi: OUT + WIDE });
  return gateway;
}

/** What SAs have carried, by SPI. All numbers that were used have packets; others were given back, but where 2^31 lies between. */
export function usageOf(gateway: TestGateway): Map<number, SaUsage> {
  const { sad, kernel } = gateway;
  const usage = new Map<number, SaUsage>();
  for (let slot = 0; slot < sad.used; slot++) {
    const spi = sad.spi(slot);
    usage.set(spi, kernel.usage(slot));
    const begun = sas[spi - OUT]?.last ?? 0;
    if ((sad.flags(slot) & SaFlag.inbound) !== 0) continue;
    const left = lastNumber(sad.atomics, sad.offset(slot) >>> 2) - begun - Number(usage.get(spi)!.packets);
    assert.ok(begun === 0 ? left === 0 : left >= 0 && left < 600, `${left} numbers are left out`);
  }
  return usage;
}

/** Its peer, which takes everything. */
export class Far {
  readonly gateway = new TestGateway("ipsec-mb", {
    tun: true,
    uplink: true,
    isFar: true,
    publicMtu: 1900,
    privateMtu: 1900,
  });

  constructor() {
    const { gateway } = this;
    sas.forEach((sa, i) => {
      const [near, far] = endsOf(sa);
      const all = { from: everything, to: everything };
      gateway.sa({
        ...optionsOf(sa, OUT + i),
        replayWindow: 4096,
        inbound: true,
        src: near,
        dst: far,
        ...all,
      });
      gateway.sa({ ...optionsOf(sa, IN + i), src: far, dst: near, ...all });
      if (sa.last !== undefined) for (const spi of [OUT + i, IN + i]) gateway.goOn(spi, sa.last);
    });
  }

  encrypt(packet: Uint8Array, number: number): Uint8Array {
    const { gateway } = this;
    const encapsulate = gateway.graph.apps.find(({ name }) => name === "encapsulate")!.app as App &
      Encapsulate;
    encapsulate.take(gateway.frames.from(packet), gateway.slotOf(IN + number), 1900);
    const { public: sent, uplink, drops } = gateway.sendFrames("private", [], false);
    assert.deepEqual(drops, {});
    return [...sent, ...uplink][0];
  }

  /** What is in an ESP packet that was sent to it. */
  decrypt(packet: Uint8Array): Uint8Array {
    const { private: inner, drops } = this.gateway.send("public", [packet]);
    assert.deepEqual(drops, {}, "what is sent is sound, and has a number of its own");
    assert.equal(inner.length, 1);
    return inner[0];
  }

  close(): void {
    this.gateway.close();
  }
}

export const sideOf = ({ uplink }: SitesSa): Side => (uplink ? "uplink" : "public");

/** Where ESP begins; undefined in a packet without. */
export function espIn(packet: Uint8Array): number | undefined {
  let at = 40;
  let protocol = packet[6];
  if (packet[0] >>> 4 === 4) {
    at = (packet[0] & 15) << 2;
    protocol = packet[9];
  } else
    while (protocol === 0 || protocol === 43 || protocol === 60) {
      protocol = packet[at];
      at += (packet[at + 1] + 1) << 3;
    }
  if (protocol === UDP && (packet[at + 2] << 8) + packet[at + 3] === 4500) return at + 8;
  return protocol === 50 ? at : undefined;
}
