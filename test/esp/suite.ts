// What every suite of the interoperability tests is given, and the shapes of tunnels that they use.

import { test } from "node:test";
import type { SaOptions } from "../../src/ipsec/testing/requests.js";
import { suiteOf, suiteRequest } from "../../src/ipsec/testing/suites.js";
import { type EngineName, FAR, FAR6, type GatewayOptions, NEAR, NEAR6, TestGateway } from "./gateway.js";
import { type Scapy, type ScapySa, scapySuite } from "./scapy.js";

export interface Suite {
  readonly engine: EngineName;
  readonly scapy: Scapy;
  /** A test with a gateway of its own, which is closed whatever happens. */
  test(name: string, run: (gateway: TestGateway) => Promise<void>, options?: GatewayOptions): void;
}

export function makeSuite(engine: EngineName, scapy: Scapy): Suite {
  return {
    engine,
    scapy,
    test(name, run, options) {
      test(`${engine}: ${name}`, async () => {
        const gateway = new TestGateway(engine, options);
        try {
          await run(gateway);
        } finally {
          gateway.close();
        }
      });
    },
  };
}

export type Family = 4 | 6;

export interface TunnelOptions extends Partial<SaOptions> {
  outer?: Family;
  /** A name in src/ipsec/testing/suites.ts. */
  ciphers?: string;
  esn?: boolean;
  natt?: boolean;
}

/** SPIs of the tunnel from Vita to scapy and back. */
export const OUT = 0xc1000001;
export const IN = 0xc2000002;

const LOCAL = ["10.1.0.0/16", "2001:db8:1::/48"];
const REMOTE = ["10.2.0.0/16", "2001:db8:2::/48"];

export interface Tunnel {
  /** For scapy: to decrypt what Vita sent, to encrypt what Vita shall receive. */
  fromVita: ScapySa;
  toVita: ScapySa;
}

/** Installs both SAs and the `out` policies of a tunnel, and says how scapy sees it. */
export function makeTunnel(gateway: TestGateway, options: TunnelOptions = {}): Tunnel {
  const { outer = 4, ciphers = "aes128gcm16", esn = true, natt = false, from, to, ...rest } = options;
  const suite = suiteOf(ciphers);
  const [near, far] = outer === 4 ? [NEAR, FAR] : [NEAR6, FAR6];
  const local = from ?? LOCAL;
  const remote = to ?? REMOTE;
  const common: Partial<SaOptions> = {
    extendedSequenceNumbers: esn,
    replayWindow: 64,
    udpEncapsulation: natt,
    ...rest,
  };
  gateway.sa({
    ...common,
    spi: OUT,
    src: near,
    dst: far,
    ports: [4500, 40_500],
    from: local,
    to: remote,
    ...suiteRequest(suite, OUT),
  });
  gateway.sa({
    ...common,
    spi: IN,
    inbound: true,
    src: far,
    dst: near,
    ports: [40_500, 4500],
    from: remote,
    to: local,
    ...suiteRequest(suite, IN),
  });
  for (const src of local)
    for (const dst of remote)
      if (src.includes(":") === dst.includes(":"))
        gateway.policy({ from: src, to: dst, src: near, dst: far, espSpi: OUT });
  const header = (a: string, b: string) =>
    outer === 4 ? `IP(src="${a}",dst="${b}")` : `IPv6(src="${a}",dst="${b}")`;
  return {
    fromVita: {
      spi: OUT,
      ...scapySuite(suite, OUT),
      esn,
      outer: header(near, far),
      ...(natt && { natt: [4500, 40_500] }),
    },
    toVita: {
      spi: IN,
      ...scapySuite(suite, IN),
      esn,
      outer: header(far, near),
      ...(natt && { natt: [40_500, 4500] }),
    },
  };
}

/** A scapy expression for a UDP packet from here to there, or back, with so many bytes of payload. */
export function udp(family: Family, length: number, extra = "", back = false): string {
  const [a, b] = family === 4 ? ["10.1.0.5", "10.2.0.7"] : ["2001:db8:1::5", "2001:db8:2::7"];
  const [src, dst] = back ? [b, a] : [a, b];
  const header = family === 4 ? "IP" : "IPv6";
  return `${header}(src="${src}",dst="${dst}"${extra})/UDP(sport=1000,dport=2000)/Raw(bytes(i*7&255 for i in range(${length})))`;
}

/** The packet as it is after one router: TTL or hop limit one lower, checksum to match. */
export function forwarded(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  if (copy[0] >>> 4 === 6) {
    copy[7]--;
    return copy;
  }
  copy[8]--;
  copy.set([0, 0], 10);
  let sum = 0;
  for (let i = 0; i < (copy[0] & 15) * 4; i += 2) sum += (copy[i] << 8) | copy[i + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  copy.set([(~sum >>> 8) & 0xff, ~sum & 0xff], 10);
  return copy;
}

/** Sets the TOS byte; `forwarded` mends the checksum, and the TTL that it takes away is given first. */
export function withTos(packet: Uint8Array, tos: number): Uint8Array {
  const copy = packet.slice();
  if (copy[0] >>> 4 === 6) {
    copy[0] = 0x60 | (tos >>> 4);
    copy[1] = (tos << 4) & 0xff;
    return copy;
  }
  copy[1] = tos;
  copy[8]++;
  return forwarded(copy);
}
