// Thousands of CHILD_SAs as charon sets them up and takes them down: what a client says to Vita, in charon's order. The
// far gateway gets the same SAs the other way round, so that the two can talk.

import type { AddSaMessage, PolicyMessage, SaMessage } from "../src/charon/protocol.js";
import type { Selector } from "../src/ipsec/kernel.js";
import { keyOf } from "../src/ipsec/testing/requests.js";
import type { AnyCall } from "./charon-client.js";
import { host, policy, sa } from "./charon-messages.js";

export interface Child {
  /** Its number; the same in a rekeyed one. */
  number: number;
  /** SPI of the SA towards B, and of that towards A. */
  toB: number;
  toA: number;
}

/** The CHILD_SAs of a generation: a rekeyed CHILD_SA has the same number and other SPIs and keys. */
export function children(count: number, generation = 0): Child[] {
  return Array.from({ length: count }, (_, number) => ({
    number,
    toB: 0x10000000 + generation * 0x1000000 + number,
    toA: 0x20000000 + generation * 0x1000000 + number,
  }));
}

/** Address of the host behind B that CHILD_SA `number` leads to: in 100.64.0.0/10 (RFC 6598), four addresses each. */
export function farHost(number: number): string {
  const address = 4 * number + 1;
  return `100.${64 + (address >>> 16)}.${(address >>> 8) & 255}.${address & 255}`;
}

const wan = { a: "192.0.2.1", b: "192.0.2.2" } as const;

function nearNet(): Selector {
  return range("10.1.0.0", 255);
}

function farNet(number: number): Selector {
  const { address } = host(farHost(number));
  return range([...address.subarray(0, 3), address[3] - 1].join("."), 3);
}

function range(first: string, rest: number): Selector {
  const from = host(first).address;
  const to = from.slice();
  to[3] += rest;
  return { from, to, protocol: 0, fromPort: 0, toPort: 65535 };
}

function saOf(child: Child, side: "a" | "b", inbound: boolean): AddSaMessage {
  const towardsB = (side === "a") !== inbound;
  const spi = towardsB ? child.toB : child.toA;
  const usual = sa(spi);
  return {
    ...usual,
    id: { ...usual.id, src: host(towardsB ? wan.a : wan.b), dst: host(towardsB ? wan.b : wan.a) },
    inbound,
    reqid: 1 + child.number,
    srcSelectors: [towardsB ? nearNet() : farNet(child.number)],
    dstSelectors: [towardsB ? farNet(child.number) : nearNet()],
    encryptionKey: keyOf(spi, 20),
  };
}

function policyOf(child: Child, side: "a" | "b", direction: number): PolicyMessage {
  const towardsB = (side === "a") === (direction === 1);
  const usual = policy(direction);
  return {
    ...usual,
    id: {
      ...usual.id,
      srcSelector: towardsB ? nearNet() : farNet(child.number),
      dstSelector: towardsB ? farNet(child.number) : nearNet(),
    },
    src: host(towardsB ? wan.a : wan.b),
    dst: host(towardsB ? wan.b : wan.a),
    reqid: 1 + child.number,
    espSpi: towardsB ? child.toB : child.toA,
  };
}

/** IN, FWD and OUT. */
const directions = [0, 2, 1];

/** Initiating (contract §4.1). */
export function* install(all: Iterable<Child>, side: "a" | "b"): Generator<AnyCall> {
  for (const child of all) {
    yield { call: "add_sa", body: saOf(child, side, true) };
    yield { call: "add_sa", body: saOf(child, side, false) };
    for (const direction of directions) yield { call: "add_policy", body: policyOf(child, side, direction) };
  }
}

/** Terminating (contract §4.7): counters, policies, SAs. */
export function* terminate(all: Iterable<Child>, side: "a" | "b"): Generator<AnyCall> {
  for (const child of all) {
    for (const inbound of [true, false]) yield { call: "query_sa", body: naming(child, side, inbound) };
    for (const direction of [1, 0, 2]) yield { call: "del_policy", body: policyOf(child, side, direction) };
    for (const inbound of [true, false]) yield { call: "del_sa", body: naming(child, side, inbound) };
  }
}

export function naming(child: Child, side: "a" | "b", inbound: boolean): SaMessage {
  return { id: saOf(child, side, inbound).id, cpi: 0 };
}
