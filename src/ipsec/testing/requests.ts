// Requests to a pseudo-kernel from short texts, for tests: what is not named has the value that charon usually sends.

import { type IpAddress, parseAddress, parsePrefix } from "../../net/address.js";
import type { AddSaRequest, Host, Limit, PolicyRequest, SaId, Selector } from "../kernel.js";

export function address(text: string): IpAddress {
  const parsed = parseAddress(text);
  if (!parsed) throw new Error(`${text} is not an address`);
  return parsed;
}

export function host(text: string, port = 500): Host {
  return { address: address(text), port };
}

const protocols: Record<string, number> = { any: 0, icmp: 1, tcp: 6, udp: 17, icmp6: 58, sctp: 132 };

/** `10.0.0.0/24`, `10.0.0.5-10.0.0.9`, `::/0[udp/53]`, `10.0.0.0/8[tcp/1000-2000]`, `…[icmp/8.0]`, `…[udp/opaque]`. */
export function selector(text: string): Selector {
  const parts = /^([^[]+)(?:\[(\w+)(?:\/([\w.-]+))?\])?$/.exec(text);
  if (!parts) throw new Error(`${text} is not a selector`);
  const [, range, name = "any", ports] = parts;
  const protocol = protocols[name] ?? Number(name);
  const [fromPort, toPort] = portRange(ports);
  const [from, to] = range.includes("-") ? range.split("-").map(address) : prefixRange(range);
  return { from, to, protocol, fromPort, toPort };
}

function portRange(text: string | undefined): [number, number] {
  if (text === undefined) return [0, 0xffff];
  if (text === "opaque") return [0xffff, 0];
  if (text.includes(".")) {
    const [type, code] = text.split(".").map(Number);
    return [type * 256 + code, type * 256 + code];
  }
  const [first, last] = text.split("-").map(Number);
  return [first, last ?? first];
}

function prefixRange(text: string): [IpAddress, IpAddress] {
  const prefix = parsePrefix(text);
  if (!prefix) throw new Error(`${text} is not a prefix`);
  const hostBits = (byte: number, i: number) =>
    byte | (0xff >>> Math.min(8, Math.max(0, prefix.length - 8 * i)));
  return [prefix.address, prefix.address.map(hostBits)];
}

const none = { value: 0, mask: 0 };
const noLimit: Limit = { rekey: 0n, life: 0n };

export interface SaOptions extends Partial<Omit<AddSaRequest, "id" | "srcSelectors" | "dstSelectors">> {
  spi: number;
  src?: string;
  dst?: string;
  /** Ports of the end points, source and destination. */
  ports?: [number, number];
  protocol?: number;
  mark?: { value: number; mask: number };
  interfaceId?: number;
  from?: string[];
  to?: string[];
}

/** Names an SA; the defaults are those of `saRequest`. */
export function saId(
  spi: number,
  src = "192.0.2.1",
  dst = "192.0.2.2",
  ports: [number, number] = [500, 500],
): SaId {
  return {
    src: host(src, ports[0]),
    dst: host(dst, ports[1]),
    spi,
    protocol: 50,
    mark: none,
    interfaceId: 0,
  };
}

/** An outbound SA from 192.0.2.1 to 192.0.2.2 unless told otherwise; the key depends on the SPI. */
export function saRequest(options: SaOptions): AddSaRequest {
  const { spi, src, dst, ports, protocol, mark, interfaceId, from, to, ...rest } = options;
  return {
    id: {
      ...saId(spi, src, dst, ports),
      protocol: protocol ?? 50,
      mark: mark ?? none,
      interfaceId: interfaceId ?? 0,
    },
    inbound: false,
    update: false,
    initiator: true,
    reqid: 1,
    mode: 2,
    srcSelectors: (from ?? ["10.1.0.0/16"]).map(selector),
    dstSelectors: (to ?? ["10.2.0.0/16"]).map(selector),
    encryption: 20,
    encryptionKey: keyOf(spi, 20),
    integrity: 1024,
    integrityKey: new Uint8Array(0),
    extendedSequenceNumbers: true,
    replayWindow: 32,
    udpEncapsulation: false,
    lifetime: { time: noLimit, bytes: noLimit, packets: noLimit },
    tfc: 0,
    ipcomp: 0,
    cpi: 0,
    copyDf: true,
    copyEcn: true,
    copyDscp: 0,
    hardwareOffload: "no",
    setMark: none,
    interface: "",
    labelled: false,
    ...rest,
  };
}

/** Key material that differs from SPI to SPI; with the salt it has 20, 28 or 36 bytes. */
export function keyOf(spi: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (Math.imul(spi ^ (i << 8), 0x9e3779b1) >>> 13) & 0xff);
}

export interface PolicyOptions extends Partial<Omit<PolicyRequest, "id" | "src" | "dst">> {
  direction?: number;
  from?: string;
  to?: string;
  src?: string;
  dst?: string;
  interface?: string;
  mark?: { value: number; mask: number };
  interfaceId?: number;
  labelled?: boolean;
}

/** An `out` entry that asks for ESP from 192.0.2.1 to 192.0.2.2 unless told otherwise. */
export function policyRequest(options: PolicyOptions = {}): PolicyRequest {
  const { direction, from, to, src, dst, mark, interfaceId, labelled, ...rest } = options;
  const { interface: device, ...entry } = rest;
  return {
    id: {
      direction: direction ?? 1,
      srcSelector: selector(from ?? "10.1.0.0/16"),
      dstSelector: selector(to ?? "10.2.0.0/16"),
      mark: mark ?? none,
      interfaceId: interfaceId ?? 0,
      interface: device ?? "",
      labelled: labelled ?? false,
    },
    type: 1,
    priorityClass: 1,
    manualPriority: 0,
    src: host(src ?? "192.0.2.1"),
    dst: host(dst ?? "192.0.2.2"),
    mode: 2,
    reqid: 1,
    espSpi: 0,
    usesEsp: true,
    usesAh: false,
    ipcomp: 0,
    ...entry,
  };
}
