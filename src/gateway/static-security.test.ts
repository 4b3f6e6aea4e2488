// Static SAs and policies: what the pseudo-kernel has after each change.

import assert from "node:assert/strict";
import { test } from "node:test";
import { readSa } from "../ipsec/read-sa.js";
import { SaState, saSlot } from "../ipsec/sad-layout.js";
import { saRequest } from "../ipsec/testing/requests.js";
import { STATIC_SESSION } from "./static-security.js";
import { configuration, digits, inbound, route, sa, whole, withRig } from "./testing/static-rig.js";

const CHARON = 7n;

test(
  "a route with its SAs, and its end",
  withRig(async (rig) => {
    const full = configuration();
    await rig.security.apply(undefined, full);
    assert.deepEqual(rig.told(), whole);
    const empty = configuration({ route: [], "inbound-sa": [], "outbound-sa": [] });
    await rig.security.apply(full, empty);
    assert.deepEqual(rig.told(), []);
    await rig.security.apply(empty, full);
    assert.deepEqual(rig.told(), whole);
  }),
);

test(
  "what does not differ is not touched",
  withRig(async (rig) => {
    const full = configuration();
    await rig.security.apply(undefined, full);
    const before = rig.touched();
    await rig.security.apply(full, structuredClone(full));
    assert.equal(rig.touched(), before);
    const other = { ...route, id: "bar", net: ["10.3.0.0/16"] };
    await rig.security.apply(full, configuration({ route: [other, route] }));
    assert.ok(rig.touched().startsWith(before.slice(0, before.indexOf(" "))), "its SAs were touched");
    assert.deepEqual(
      rig.told().filter((line) => line.includes("10.3.0.0")),
      ["fwd protect 10.3.0.0 10.1.0.0", "in protect 10.3.0.0 10.1.0.0", "out protect 10.1.0.0 10.3.0.0"],
    );
  }),
);

test(
  "a route without an outbound SA has an entry that asks nobody: its packets are dropped at once",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration({ "outbound-sa": [] }));
    const out = rig.kernel.policiesOf(STATIC_SESSION).filter(({ id }) => id.direction === 1);
    assert.deepEqual(
      out.map(({ type, reqid, espSpi }) => ({ type, reqid, espSpi })),
      [{ type: 1, reqid: 0, espSpi: 0 }],
    );
    await rig.security.apply(configuration({ "outbound-sa": [] }), configuration());
    assert.deepEqual(rig.told(), whole);
  }),
);

test(
  "both families: pairs of one family, and everything of a family where local-net is left out",
  withRig(async (rig) => {
    const both = { ...route, net: ["10.2.0.0/16", "2001:db8:2::/48"], "local-net": [] };
    await rig.security.apply(undefined, configuration({ route: [both] }));
    assert.deepEqual(
      rig.told().filter((line) => line.includes("protect")),
      [
        "fwd protect 10.2.0.0 0.0.0.0",
        "fwd protect 2001:db8:2:: ::",
        "in protect 10.2.0.0 0.0.0.0",
        "in protect 2001:db8:2:: ::",
        "out protect 0.0.0.0 10.2.0.0 2001",
        "out protect :: 2001:db8:2:: 2001",
      ],
    );
    const gateway6 = { ...both, gateway: { ip: "2001:db8::2" } };
    await rig.security.apply(undefined, configuration({ route: [gateway6] }));
    assert.ok(rig.told().includes("out 2001 2001:db8::1 2001:db8::2"));
  }),
);

test(
  "interface id and mark are those of SAs and policies",
  withRig(async (rig) => {
    const bound = { ...route, "if-id": 42, mark: 7 };
    await rig.security.apply(undefined, configuration({ route: [bound] }));
    const requests = rig.kernel.sasOf(STATIC_SESSION).map((slot) => readSa(rig.sad, slot));
    for (const { id } of [...requests, ...rig.kernel.policiesOf(STATIC_SESSION)]) {
      assert.equal(id.interfaceId, 42);
      assert.deepEqual(id.mark, { value: 7, mask: 0xffffffff });
    }
    // Without them again: the inbound SA must not inherit the mark of the one that it replaces.
    await rig.security.apply(undefined, configuration());
    for (const slot of rig.kernel.sasOf(STATIC_SESSION))
      assert.deepEqual(readSa(rig.sad, slot).id.mark, { value: 0, mask: 0 });
  }),
);

test(
  "another key for an SPI: there is an SA at every moment, and the old key is gone",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    const [outSlot, inSlot] = [rig.slot(2001), rig.slot(1001, true)];
    const { at } = saSlot;
    // A worker is in the middle of a breath, and holds what it has found.
    rig.sad.enterBreath(0);
    const found: number[] = [];
    const indexed: number[] = [];
    rig.spd.onChange = () => {
      const entry = Array.from({ length: rig.spd.used }, (_, i) => i).find(
        (i) => rig.spd.present(i) && rig.spd.read(i).id.direction === 1,
      );
      found.push(rig.spd.sa(entry!));
      indexed.push(rig.sad.lookup(1001));
    };
    const changed = configuration({
      "inbound-sa": [inbound(1001, { key: digits(0xee, 16) })],
      "outbound-sa": [sa(2001, { key: digits(0xdd, 16) })],
    });
    await rig.security.apply(configuration(), changed);
    assert.deepEqual(rig.told(), whole);
    assert.deepEqual(rig.keys(), [digits(0xdd, 16) + digits(1, 4), digits(0xee, 16) + digits(1, 4)]);
    assert.ok(found.length > 0 && found.every((slot) => slot >= 0), "an entry had no SA behind it");
    assert.ok(indexed.every((slot) => slot >= 0));
    assert.notEqual(rig.slot(2001), outSlot);
    assert.notEqual(rig.sad.lookup(1001), inSlot);
    assert.equal(rig.sad.state(outSlot), SaState.dying, "the worker may still be using it");
    const key = (slot: number) => rig.sad.region.bytes[rig.sad.offset(slot) + at.key];
    assert.equal(key(outSlot), 2001 & 0xff);
    rig.sad.enterBreath(0);
    rig.sad.reclaim();
    assert.equal(key(outSlot), 0);
    assert.equal(key(inSlot), 0);
  }),
);

test(
  "a change that is refused in its middle leaves everything as it was",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    // charon has an inbound SA with this SPI.
    const foreign = saRequest({ spi: 1005, inbound: true, src: "192.0.2.2", dst: "192.0.2.1" });
    assert.equal(rig.kernel.addSa(foreign, CHARON).status, 0);
    await rig.refuses(
      configuration({
        "inbound-sa": [inbound(1002), inbound(1003, { key: digits(0x77, 16) }), inbound(1005)],
        "outbound-sa": [sa(2001, { key: digits(0x78, 16) })],
      }),
      /^\/inbound-sa\[spi="1005"\]: inbound SPI 000003ed is in use$/,
    );
    // Nor does it matter whose SPI is free again later.
    rig.kernel.flushSas(CHARON);
    await rig.security.apply(
      configuration(),
      configuration({ "inbound-sa": [inbound(1001), inbound(1005)] }),
    );
    assert.equal(rig.told().length, whole.length + 1);
  }),
);

test(
  "the SPD is full after the SAs were changed: their old keys come back, with unused numbers",
  withRig(
    async (rig) => {
      await rig.security.apply(undefined, configuration());
      const used = rig.use(rig.slot(2001), 5 * 2 ** 20);
      const more = { ...route, id: "bar", net: ["10.3.0.0/16", "10.4.0.0/16"] };
      await rig.refuses(
        configuration({
          route: [route, more],
          "inbound-sa": [inbound(1001, { key: digits(0x77, 16) }), inbound(1002, { route: "bar" })],
          "outbound-sa": [sa(2001, { key: digits(0x78, 16) })],
        }),
        /\/route\[id="bar"\]: the SPD is full: 6 entries \(raise \/limits\/policies\)/,
      );
      assert.ok(rig.last(rig.slot(2001)) > used);
    },
    16,
    6,
  ),
);

test(
  "a route without a local address is refused where no public interface has one",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    rig.addresses = [];
    await rig.refuses(
      configuration({ route: [{ ...route, mark: 1 }] }),
      /\/route\[id="foo"\]\/local-ip: is left out, and no public interface has an IPv4 address now/,
    );
  }),
);

test(
  "security policies: both directions and forward, before everything that protects, or by their priority",
  withRig(async (rig) => {
    const policy = {
      id: "p",
      "if-id": 0,
      mark: 0,
      "local-ts": ["10.1.0.0/16[udp/53]"],
      "remote-ts": ["10.2.0.0/16"],
    };
    const bypass = configuration({ "security-policy": [{ ...policy, action: "bypass" }] });
    await rig.security.apply(undefined, bypass);
    assert.deepEqual(
      rig.told().filter((line) => line.includes("pass")),
      ["fwd pass 10.2.0.0 10.1.0.0", "in pass 10.2.0.0 10.1.0.0", "out pass 10.1.0.0 10.2.0.0"],
    );
    const first = () =>
      Array.from({ length: rig.spd.used }, (_, i) => i)
        .filter((i) => rig.spd.present(i) && rig.spd.read(i).id.direction === 1)
        .sort((a, b) => rig.spd.rank(a) - rig.spd.rank(b))
        .map((i) => ["", "protect", "pass", "drop"][rig.spd.read(i).type])
        .join();
    assert.equal(first(), "pass,protect");
    const wide = { ...policy, id: "q", "local-ts": ["0.0.0.0/0"], "remote-ts": ["0.0.0.0/0"] };
    const discard = { ...wide, action: "discard" as const };
    await rig.security.apply(
      bypass,
      configuration({ "security-policy": [{ ...policy, action: "bypass" }, discard] }),
    );
    assert.equal(first(), "pass,drop,protect");
    await rig.security.apply(
      undefined,
      configuration({ "security-policy": [{ ...discard, priority: 900_000 }] }),
    );
    assert.equal(first(), "protect,drop");
  }),
);

test(
  "charon's own, and its end, have nothing to do with it",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    rig.kernel.sessionOpened(CHARON);
    assert.equal(rig.kernel.deleteSa(readSa(rig.sad, rig.slot(2001)).id, CHARON).status, 1);
    rig.kernel.flushSas(CHARON);
    rig.kernel.flushPolicies(CHARON);
    rig.kernel.sessionClosed(CHARON);
    rig.now += 10_000;
    rig.kernel.sweep();
    assert.deepEqual(rig.told(), whole);
  }),
);

test(
  "thousands of routes: one more is a matter of milliseconds",
  withRig(
    async (rig) => {
      const many = Array.from({ length: 2000 }, (_, i) => i);
      const key = (i: number) => i.toString(16).padStart(32, "0");
      const full = configuration({
        route: many.map((i) => ({ ...route, id: `r${i}`, net: [`10.${i >> 8}.${i & 255}.0/24`] })),
        "inbound-sa": many.map((i) => inbound(10_000 + i, { route: `r${i}`, key: key(i) })),
        "outbound-sa": many.map((i) => sa(20_000 + i, { route: `r${i}`, key: key(2 ** 20 + i) })),
      });
      await rig.security.apply(undefined, full);
      assert.equal(rig.kernel.sasOf(STATIC_SESSION).length, 4000);
      const reqids = new Set(rig.kernel.policiesOf(STATIC_SESSION).map(({ reqid }) => reqid));
      assert.equal(reqids.size, 2000);
      for (const reqid of reqids) assert.ok(reqid >= 2 ** 31);
      const before = performance.now();
      await rig.security.apply(full, {
        ...full,
        route: [...full.route, { ...route, net: ["10.99.0.0/24"] }],
      });
      const milliseconds = performance.now() - before;
      assert.ok(milliseconds < 1000, `${milliseconds} ms`);
    },
    4096,
    8192,
  ),
);
