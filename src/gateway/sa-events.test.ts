import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeEngine } from "../ipsec/aead-node.js";
import { PseudoKernel } from "../ipsec/pseudo-kernel.js";
import { addSa, inId, outId, peer, session, us, withRig } from "../ipsec/testing/kernel-rig.js";
import { NodeEvents } from "./node-events.js";
import { SaEvents } from "./sa-events.js";

test(
  "SAs that come, take another one's place, and go",
  withRig(({ sad, spd, ok }) => {
    const events = new NodeEvents();
    const told: string[] = [];
    events.on("sa-up", ({ direction, spi, src, dst, reqid }) =>
      told.push(`up ${direction} ${spi} ${src} ${dst} ${reqid}`),
    );
    events.on("sa-rekeyed", ({ direction, spi, "old-spi": old }) =>
      told.push(`rekeyed ${direction} ${old} ${spi}`),
    );
    events.on("sa-down", ({ direction, spi }) => told.push(`down ${direction} ${spi}`));
    const saEvents = new SaEvents(events);
    const kernel = new PseudoKernel({
      sad,
      spd,
      engine: new NodeEngine(sad),
      now: () => 1000,
      saChanged: (slot, present) => saEvents.change(slot, present),
    });
    const take = () => told.splice(0);
    // What is there at the start is no news.
    ok(kernel.addSa(addSa(0xc0000101, false, { reqid: 5 }), session));
    saEvents.begin(sad);
    assert.deepEqual(take(), []);

    ok(kernel.addSa(addSa(0xc0000201, true, { reqid: 5 }), session));
    assert.deepEqual(take(), ["up in c0000201 192.0.2.2 192.0.2.1 5"]);
    ok(kernel.addSa(addSa(0xc0000102, false, { reqid: 5 }), session));
    assert.deepEqual(take(), ["rekeyed out c0000101 c0000102"]);
    ok(kernel.addSa(addSa(0xc0000103, false, { reqid: 6 }), session));
    assert.deepEqual(take(), ["up out c0000103 192.0.2.1 192.0.2.2 6"]);
    ok(kernel.deleteSa(outId(0xc0000101)));
    ok(kernel.deleteSa(inId(0xc0000201)));
    assert.deepEqual(take(), ["down out c0000101", "down in c0000201"]);
    // An SPI that is reserved is no SA, and neither is one that is given up.
    ok(kernel.getSpi({ src: peer, dst: us, protocol: 50 }, session));
    ok(kernel.flushSas(session));
    assert.deepEqual(take().sort(), ["down out c0000102", "down out c0000103"]);
    ok(kernel.addSa(addSa(0xc0000104, false, { reqid: 6 }), session));
    assert.deepEqual(take(), ["up out c0000104 192.0.2.1 192.0.2.2 6"]);
  }),
);
