// A worker's index of the SPD against a linear search over its entries, through random changes.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { Domains } from "./binding.js";
import { INNER_OK, type InnerPacket, parseInner } from "./inner.js";
import type { PolicyRequest, Selector } from "./kernel.js";
import { policyRank, Spd } from "./spd.js";
import { SpdIndex } from "./spd-index.js";
import { policyRequest } from "./testing/requests.js";

const CAPACITY = 24;

/** Addresses in 10.0.0.0/8 that collide often. */
const address = fc
  .tuple(fc.constantFrom(0, 1, 2), fc.constantFrom(0, 1, 255), fc.constantFrom(0, 1, 7, 255))
  .map(([b, c, d]) => Uint8Array.of(10, b, c, d));

const numberOf = (a: Uint8Array) => new DataView(a.buffer, a.byteOffset).getUint32(0);

const ranges = fc.oneof(
  fc.tuple(address, fc.constantFrom(0, 8, 16, 24, 28, 32)).map(([a, length]) => {
    const mask = (i: number) => 0xff00 >>> Math.min(8, Math.max(0, length - 8 * i));
    return { from: a.map((byte, i) => byte & mask(i)), to: a.map((byte, i) => byte | (~mask(i) & 0xff)) };
  }),
  fc
    .tuple(address, address)
    .map(([a, b]) => (numberOf(a) <= numberOf(b) ? { from: a, to: b } : { from: b, to: a })),
);

const selector: fc.Arbitrary<Selector> = fc
  .record({
    range: ranges,
    transport: fc.constantFrom(
      { protocol: 0, fromPort: 0, toPort: 0xffff },
      { protocol: 17, fromPort: 0, toPort: 0xffff },
      { protocol: 17, fromPort: 53, toPort: 53 },
      { protocol: 6, fromPort: 80, toPort: 90 },
      { protocol: 17, fromPort: 0xffff, toPort: 0 },
    ),
  })
  .map(({ range, transport }) => ({ ...range, ...transport }));

/** What packets come from: an interface id and a mark each. */
const bindings = [
  { interfaceId: 0, mark: 0 },
  { interfaceId: 0, mark: 0x80000012 },
  { interfaceId: 7, mark: 0 },
  { interfaceId: 7, mark: 0x12 },
];
const domains = new Domains(
  bindings.map((binding) => ({
    binding: { ...binding, interfaceIdIn: binding.interfaceId, markIn: binding.mark },
  })),
);

const identity = fc.record({
  mark: fc.constantFrom(
    { value: 0, mask: 0 },
    { value: 0x10, mask: 0xf0 },
    { value: 0x80000012, mask: 0xffffffff },
    { value: 0x80000000, mask: 0x80000000 },
    // Matches nothing: it asks for a bit that the mask takes away.
    { value: 0x13, mask: 0xf0 },
  ),
  interfaceId: fc.constantFrom(0, 7, 8),
});

const policy: fc.Arbitrary<PolicyRequest> = fc
  .record({
    src: selector,
    dst: selector,
    identity,
    mode: fc.constantFrom(1, 2),
    direction: fc.constantFrom(1, 1, 1, 0),
    type: fc.constantFrom(1, 2, 3),
    priorityClass: fc.constantFrom(0, 1, 2, 3),
    manualPriority: fc.constantFrom(0, 0, 0, 5, 300_000),
  })
  .map(
    ({
      src,
      dst,
      identity: { mark, interfaceId },
      mode,
      direction,
      type,
      priorityClass,
      manualPriority,
    }) => ({
      id: {
        direction,
        srcSelector: src,
        dstSelector: dst,
        mark,
        interfaceId,
        interface: "",
        labelled: false,
      },
      type,
      priorityClass,
      manualPriority,
      src: { address: Uint8Array.of(1, 1, 1, 1), port: 0 },
      dst: { address: Uint8Array.of(2, 2, 2, 2), port: 0 },
      mode,
      reqid: 1,
      espSpi: 0,
      usesEsp: true,
      usesAh: false,
      ipcomp: 0,
    }),
  );

interface Probe {
  domain: number;
  src: Uint8Array;
  dst: Uint8Array;
  protocol: number;
  srcPort: number;
  dstPort: number;
  /** A later fragment: no ports. */
  fragment: boolean;
}

const probe: fc.Arbitrary<Probe> = fc.record({
  domain: fc.nat(bindings.length - 1),
  src: address,
  dst: address,
  protocol: fc.constantFrom(6, 17, 50),
  srcPort: fc.constantFrom(53, 80, 4000),
  dstPort: fc.constantFrom(53, 85, 4000),
  fragment: fc.constantFrom(false, false, true),
});

function packetOf({ src, dst, protocol, srcPort, dstPort, fragment }: Probe): DataView {
  const view = new DataView(new ArrayBuffer(28));
  view.setUint8(0, 0x45);
  view.setUint16(2, 28);
  view.setUint16(6, fragment ? 1 : 0);
  view.setUint8(9, protocol);
  for (let i = 0; i < 4; i++) {
    view.setUint8(12 + i, src[i]);
    view.setUint8(16 + i, dst[i]);
  }
  view.setUint16(20, srcPort);
  view.setUint16(22, dstPort);
  return view;
}

/** As Linux says it (xfrm(8)). */
function isFor({ id }: PolicyRequest, domain: number): boolean {
  const { interfaceId, mark } = bindings[domain];
  return id.interfaceId === interfaceId && ((mark & id.mark.mask) ^ id.mark.value) === 0;
}

function matches(s: Selector, a: Uint8Array, { protocol, fragment }: Probe, port: number): boolean {
  if (numberOf(a) < numberOf(s.from) || numberOf(a) > numberOf(s.to)) return false;
  if (s.protocol !== 0 && s.protocol !== protocol) return false;
  if (s.fromPort === 0 && s.toPort === 0xffff) return true;
  const opaque = fragment || protocol === 50;
  if (s.fromPort > s.toPort) return opaque;
  return !opaque && port >= s.fromPort && port <= s.toPort;
}

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ add: policy }) },
  { weight: 1, arbitrary: fc.record({ remove: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ point: fc.nat(), sa: fc.integer({ min: -1, max: 9 }) }) },
);

test("the first match is that of a linear search in the order of evaluation", () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 40 }),
      fc.array(probe, { minLength: 10, maxLength: 30 }),
      (steps, probes) => {
        const directory = mkdtempSync("/dev/shm/vita-spd-");
        const spd = Spd.create(join(directory, "spd"), CAPACITY);
        try {
          const index = new SpdIndex(spd, domains);
          const entries = new Map<number, { request: PolicyRequest; order: number; sa: number }>();
          let order = 0;
          for (const change of steps) {
            const present = [...entries.keys()];
            if ("add" in change) {
              const free = Array.from({ length: CAPACITY }, (_, i) => i).find((i) => !entries.has(i));
              if (free === undefined) continue;
              spd.write(free, change.add, ++order, -1, 0n);
              entries.set(free, { request: change.add, order, sa: -1 });
            } else if (present.length > 0 && "remove" in change) {
              const entry = present[change.remove % present.length];
              spd.remove(entry);
              entries.delete(entry);
            } else if (present.length > 0 && "point" in change) {
              const entry = present[change.point % present.length];
              spd.setSa(entry, change.sa);
              entries.get(entry)!.sa = change.sa;
            }
            if (order % 3 === 0) index.refresh();
          }
          index.refresh();
          const ordered = [...entries]
            .filter(([, { request }]) => request.id.direction === 1)
            .sort(([, a], [, b]) => policyRank(a.request) - policyRank(b.request) || b.order - a.order);
          for (const each of probes) {
            const found = ordered.find(
              ([, { request }]) =>
                isFor(request, each.domain) &&
                matches(request.id.srcSelector, each.src, each, each.srcPort) &&
                matches(request.id.dstSelector, each.dst, each, each.dstPort),
            );
            const view = packetOf(each);
            const packet: InnerPacket = { length: 0, protocol: 0, transport: 0, isIpv4: true };
            assert.equal(parseInner(packet, view, 0, 28, true), INNER_OK);
            const entry = index.lookup(view, 0, packet, each.domain);
            assert.equal(entry, found ? found[0] : -1);
            const isWanted = ordered.some(
              ([
                ,
                {
                  request: { id, ...request },
                },
              ]) =>
                isFor({ id, ...request }, each.domain) &&
                request.type === 1 &&
                request.mode === 1 &&
                numberOf(each.dst) >= numberOf(id.dstSelector.from) &&
                numberOf(each.dst) <= numberOf(id.dstSelector.to),
            );
            assert.equal(index.wantsTransport(view, 0, true, each.domain), isWanted);
            if (!found) continue;
            assert.equal(index.type(entry), found[1].request.type);
            assert.equal(index.sa(entry), found[1].sa);
          }
        } finally {
          spd.close();
          rmSync(directory, { recursive: true, force: true });
        }
      },
    ),
    { numRuns: 200 },
  );
});

test("an entry that takes another's place while the index looks is found at once", () => {
  const folder = mkdtempSync(join("/dev/shm", "vita-spd-"));
  const spd = Spd.create(join(folder, "spd"), CAPACITY);
  rmSync(folder, { recursive: true });
  const request = policyRequest({ from: "10.0.0.0/8", to: "10.0.0.0/8" });
  spd.write(0, request, 1, 5, 0n);
  spd.write(1, request, 2, 6, 0n);
  spd.remove(0);
  // The rekey happens when entry 0 has been looked at already: its successor there is missed, entry 1 is gone.
  let rekey = false;
  const watched: Spd = Object.create(spd, {
    offset: {
      value: (entry: number) => {
        if (rekey && entry === 1) {
          rekey = false;
          spd.write(0, request, 3, 7, 0n);
          spd.remove(1);
        }
        return spd.offset(entry);
      },
    },
  });
  const index = new SpdIndex(watched);
  const probed = {
    src: [10, 0, 0, 1],
    dst: [10, 0, 0, 2],
    domain: 0,
    protocol: 17,
    srcPort: 1,
    dstPort: 2,
    fragment: false,
  };
  const view = packetOf({ ...probed, src: Uint8Array.from(probed.src), dst: Uint8Array.from(probed.dst) });
  const packet: InnerPacket = { length: 0, protocol: 0, transport: 0, isIpv4: true };
  assert.equal(parseInner(packet, view, 0, 28, true), INNER_OK);
  assert.equal(index.sa(index.lookup(view, 0, packet, 0)), 6);
  rekey = true;
  spd.setSa(1, 8);
  index.refresh();
  assert.equal(rekey, false);
  assert.equal(index.sa(index.lookup(view, 0, packet, 0)), 7);
});
