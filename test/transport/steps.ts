// Random packets for a gateway of sites.ts, each with what is to become of it.

import { FAR, type Side } from "../esp/gateway.js";
import { oneOf, type Random } from "../esp/random.js";
import { seal, shapeOf } from "./forge.js";
import { type Content, DEFECTS, spoilContent, spoilOuter, spoilPacket, spoilText } from "./hostile.js";
import {
  type Draft,
  FRAGMENT,
  ICMP,
  ICMPV6,
  isSix,
  type Made,
  make,
  TCP,
  tellLength,
  UDP,
  writeChecksum,
} from "./packets.js";
import { covers, endsOf, type Far, FORGED, type SitesSa, sas, sideOf, type Traits, WIDE } from "./sites.js";

export interface Step {
  side: Side;
  packet: Uint8Array;
  /** The counter of its end, or of its leaving in the clear. */
  drop?: string;
  /** What comes out, if it goes on: in the clear by a public port, protected by an SA, or to this host. */
  out?: Uint8Array;
  /** Whose policy it meets, and in transport mode where ESP, or UDP in front of it, is to stand. */
  sa?: number;
  esp?: number;
  /** Its sender is told that it is too long. */
  isTooBig?: boolean;
}

/** In place of a counter: it was seen before, or lies so far back that its number is taken for another one. */
export const REPEATED = "repeated";

/** What fits into every tunnel and into no SA. */
const MOST = 1380;
const TOO_MUCH = 1480;

const ports = [1000, 1001, 2000, 2009, 22, 53, 80, 443, 7];

function traitsOf({ protocol, ports, size, fragment }: Draft, isOutbound: boolean): Traits {
  const isIcmp = protocol === ICMP || protocol === ICMPV6;
  const hasPorts = isIcmp ? size >= 2 : (protocol === TCP || protocol === UDP) && size >= 4;
  if (!hasPorts || (fragment && fragment.offset > 0)) return { protocol, near: undefined, far: undefined };
  const [src, dst] = isIcmp ? [ports[0], ports[0]] : ports;
  return isOutbound ? { protocol, near: src, far: dst } : { protocol, near: dst, far: src };
}

function chainOf(random: Random): number[] {
  if (random(2) === 0) return [];
  return oneOf(random, [0], [60], [0, 60], [60, 43, 60], [0, 43], [0, 60, 43], [43, 60]);
}

/** A packet between two ends that the SA's selectors are likely to have. */
function draftFor(sa: SitesSa, [source, destination]: string[], isOutbound: boolean, random: Random): Draft {
  const version6 = source.includes(":");
  const protocol =
    sa.protocol !== undefined && random(8) !== 0
      ? sa.protocol
      : oneOf(random, UDP, TCP, version6 ? ICMPV6 : ICMP, 47);
  const [near, far] = [sa.near, sa.far].map((range) =>
    Array.isArray(range) && random(8) !== 0 ? range[0] : oneOf(random, ...ports),
  );
  const echo = oneOf(random, ...(protocol === ICMP ? [0x800, 0x800, 0, 0x0d00] : [0x8000, 0x8100]));
  const isIcmp = protocol === ICMP || protocol === ICMPV6;
  const room = MOST - 100;
  return {
    source,
    destination,
    protocol,
    ports: isIcmp ? [echo, echo] : isOutbound ? [near, far] : [far, near],
    size: oneOf(random, random(9), random(9), 12, 19, 20, 21, 40, 100, random(room), random(room), room),
    tos: oneOf(random, 0, 0, 1, 2, 3, 0xb8),
    ttl: oneOf(random, 64, 64, 2, 255),
    options: !version6 && random(4) === 0 ? 4 * (1 + random(10)) : 0,
    chain: version6 ? chainOf(random) : [],
    fragment: undefined,
    surplus: random(5) === 0 ? oneOf(random, 1, 2, 4, 9, -1, -9, 4000) : 0,
    withoutChecksum: random(6) === 0,
    isZero: random(12) === 0,
  };
}

/** Puts a fragment header behind the others, or the flags into the IPv4 header. */
function cutUp(draft: Draft, random: Random): Draft {
  const fragment = oneOf(
    random,
    { offset: 0, more: true },
    { offset: 5, more: true },
    { offset: 5, more: false },
  );
  return { ...draft, fragment, chain: isSix(draft) ? [...draft.chain, FRAGMENT] : [] };
}

export class Steps {
  readonly steps: Step[] = [];
  private number = 0;
  private readonly numbers = sas.map(({ last }) => last ?? 0);
  private readonly received: Step[][] = sas.map(() => []);

  constructor(
    private readonly far: Far,
    private readonly random: Random,
  ) {}

  /** One more packet; of SA `i`, if it is one of an SA. */
  add(i: number, isOutbound: boolean): void {
    const { random } = this;
    this.number++;
    if (isOutbound) this.steps.push(sas[i].tunnel === undefined ? this.fromHost(i) : this.fromNetwork(i));
    else if (random(8) === 0 && this.received[i].length > 0) this.repeat(i);
    else {
      const step = random(2) === 0 ? this.fromFar(i) : this.forged(i);
      this.steps.push(step);
      if (step.out) this.received[i].push(step);
    }
  }

  private fromNetwork(i: number): Step {
    const { random } = this;
    const side = oneOf(random, "red", "private");
    const draft = draftFor(
      sas[i],
      [side === "red" ? "10.1.0.5" : "10.1.0.6", `10.${sas[i].tunnel}.0.7`],
      true,
      random,
    );
    const whole = random(8) === 0 ? cutUp(draft, random) : draft;
    const { packet } = make(whole, this.number);
    if (side === "private") return { side, packet, out: packet, sa: i };
    const { packet: out } = make({ ...whole, ttl: whole.ttl - 1 }, this.number);
    return { side, packet, out, sa: i };
  }

  private fromHost(i: number): Step {
    const { random } = this;
    const chance = random(30);
    const [near, far] = endsOf(sas[i]);
    let draft = draftFor(sas[i], [near, far], true, random);
    if (chance < 3) draft = cutUp(draft, random);
    if (chance === 3) draft = { ...draft, size: TOO_MUCH - 20 - draft.options, withoutChecksum: true };
    const isStray = chance === 4 && far === FAR;
    if (isStray) draft = { ...draft, destination: "192.0.2.9" };
    const { packet, starts } = make(draft, this.number);
    if (chance === 5) return spoilHeader(packet, random);
    if (chance === 6 && draft.chain.length > 0) {
      packet[41] = 255;
      return { side: "private", packet, drop: "protect.drop.malformed" };
    }
    const traits = traitsOf(draft, true);
    const found = isStray ? WIDE : sas.findIndex((sa) => isBetween(sa, near, far) && covers(sa, traits));
    if (chance === 7 && found < 0) return { side: "red", packet, drop: "protect.drop.no_policy" };
    if (chance === 7) return { side: "red", packet, sa: found, drop: "protect.drop.not_host" };
    if (found < 0) return { side: "private", packet, drop: "protect.unprotected", out: packet };
    const step: Step = { side: "private", packet, sa: found };
    if (packet.length >= TOO_MUCH) return { ...step, drop: "protect.drop.too_big", isTooBig: true };
    if (draft.fragment) return { ...step, drop: "encapsulate.drop.fragment" };
    if (isStray) return { ...step, drop: "encapsulate.drop.address" };
    // Behind what routers on the way look at (RFC 4303 §3.1.1).
    const last = Math.max(draft.chain.lastIndexOf(0), draft.chain.lastIndexOf(43));
    return { ...step, out: packet, esp: starts[last + 1] };
  }

  /** A packet of SA `i` from its far end, and whether it is one that the selectors have. */
  private inner(i: number): { draft: Draft; isCovered: boolean } {
    const { random } = this;
    const sa = sas[i];
    if (sa.tunnel !== undefined) {
      const isStray = random(8) === 0;
      const source = `10.${isStray ? 99 : sa.tunnel}.0.7`;
      return { draft: draftFor(sa, [source, "10.1.0.6"], false, random), isCovered: !isStray };
    }
    const [near, far] = endsOf(sa);
    const draft = draftFor(sa, [far, near], false, random);
    return { draft, isCovered: covers(sa, traitsOf(draft, false)) };
  }

  private fromFar(i: number): Step {
    const { draft, isCovered } = this.inner(i);
    const { packet: out } = make(draft, this.number);
    const packet = this.far.encrypt(out, i);
    return arrives(i, packet, isCovered ? { out } : { drop: "decapsulate.drop.selectors" });
  }

  /** A packet that was sent before, by whomever. */
  private repeat(i: number): void {
    const received = this.received[i];
    const { packet } = received[Math.max(0, received.length - 1 - this.random(90))];
    this.steps.push(arrives(i, packet, { drop: REPEATED }));
  }

  private forged(i: number): Step {
    const { random } = this;
    const sa = sas[i];
    const isTunnel = sa.tunnel !== undefined;
    let { draft, isCovered } = this.inner(i);
    if (!isTunnel && sa.isSix && random(5) === 0) {
      draft = cutUp(draft, random);
      isCovered = covers(sa, traitsOf(draft, false));
    }
    const made = make(draft, this.number);
    const content = isTunnel ? this.insideTunnel(sa, made) : this.behindHeader(sa, draft, made);
    const { ciphers, short } = sa;
    const defect = oneOf(random, ...DEFECTS, ...DEFECTS.map(() => "none" as const));
    const wrong = spoilContent(content, sa, defect, random);
    const { text, iv, reason } = spoilText(content, ciphers, defect, random);
    const spi = defect === "SPI" ? FORGED - 1 - random(9) : FORGED + i;
    this.numbers[i] += random(8) === 0 ? 1 + random(30) : 1;
    const esp = seal(ciphers, !short, spi, this.numbers[i], text, iv);
    const packet = wrap(sa, content.head, content.field, esp);
    if (defect === "length") return this.cutShort(i, packet, packet.length - esp.length);
    if (defect === "outer header")
      return arrives(i, packet, { drop: spoilOuter(packet, packet.length - esp.length, sa, random) });
    const drop = wrong ?? reason ?? spoilPacket(packet, esp.length, sa, defect, random);
    if (drop !== undefined) return arrives(i, packet, { drop: `decapsulate.${drop}` });
    return arrives(i, packet, isCovered ? { out: made.packet } : { drop: "decapsulate.drop.selectors" });
  }

  private insideTunnel(sa: SitesSa, { packet }: Made): Content {
    const [near, far] = endsOf(sa);
    const outer = { ...plain, source: far, destination: near, tos: packet[1] & 3 };
    const { packet: head, fields } = make(outer, this.number);
    return { head, field: fields[0], payload: packet, nextHeader: 4 };
  }

  /** The packet taken apart at one of the places where ESP may stand. Through a NAT its checksum was another one. */
  private behindHeader(sa: SitesSa, draft: Draft, { packet, starts, fields }: Made): Content {
    const { random } = this;
    const fragment = draft.chain.indexOf(FRAGMENT);
    const place = random(fragment < 0 ? starts.length : fragment + 1);
    const [start, field] = [starts[place], fields[place]];
    const before = packet.slice();
    if (sa.inUdp && !draft.fragment && random(2) === 0) {
      before[(sa.isSix ? 8 : 12) + 3] ^= 0x55;
      writeChecksum(before, starts[starts.length - 1], draft.protocol);
    }
    return { head: packet.slice(0, start), field, payload: before.slice(start), nextHeader: packet[field] };
  }

  /** Only the beginning of an ESP packet, whose sequence number has not been used. */
  private cutShort(i: number, packet: Uint8Array, at: number): Step {
    const { random } = this;
    const sa = sas[i];
    const { header, icv, block } = shapeOf(sa.ciphers);
    const length = oneOf(random, random(12), random(packet.length - at), (packet.length - at - 1) & ~3);
    const copy = packet.slice(0, at + length);
    if (random(4) === 0) {
      // What the IP header says is not there. Ethernet pads short frames.
      if (copy.length > 60) return arrives(i, copy, { drop: "classify.drop.bad_header" });
    }
    tellLength(copy, sa.inUdp ? at - 8 : undefined);
    const text = length - header - icv;
    const isText = length - 32 >= 4 && text > block - 1 && text % block === 0;
    const drop = sa.inUdp && length < 8 ? "classify.drop.not_esp" : isText ? "bad_icv" : "too_short";
    return arrives(i, copy, { drop: drop.includes(".") ? drop : `decapsulate.drop.${drop}` });
  }
}

const plain: Omit<Draft, "source" | "destination" | "tos"> = {
  protocol: 50,
  ports: [0, 0],
  size: 0,
  ttl: 64,
  options: 0,
  chain: [],
  fragment: undefined,
  surplus: 0,
  withoutChecksum: false,
  isZero: false,
};

const isBetween = (sa: SitesSa, near: string, far: string) =>
  sa.tunnel === undefined && endsOf(sa)[0] === near && endsOf(sa)[1] === far;

function arrives(i: number, packet: Uint8Array, verdict: Partial<Step>): Step {
  return { side: sideOf(sas[i]), packet, ...verdict };
}

/** Header and ESP, with UDP in between if the SA wants that. */
function wrap({ inUdp }: SitesSa, head: Uint8Array, field: number, esp: Uint8Array): Uint8Array {
  const udp = inUdp ? [4500 >>> 8, 4500 & 0xff, 4500 >>> 8, 4500 & 0xff, 0, 0, 0, 0] : [];
  const packet = Uint8Array.from([...head, ...udp, ...esp]);
  packet[field] = inUdp ? UDP : 50;
  return tellLength(packet, inUdp ? head.length : undefined);
}

function spoilHeader(packet: Uint8Array, random: Random): Step {
  if (packet[0] >>> 4 === 4 && random(2) === 0) {
    packet[10] ^= 0x10;
    return { side: "private", packet, drop: "ip-input.drop.bad_checksum" };
  }
  packet[packet[0] >>> 4 === 4 ? 2 : 4] ^= 0x40;
  return { side: "private", packet, drop: "ip-input.drop.bad_header" };
}
