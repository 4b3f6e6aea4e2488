// Static SAs and policies after supervisors that were killed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SaState } from "../ipsec/sad-layout.js";
import { configuration, digits, inbound, route, sa, whole, withRig } from "./testing/static-rig.js";

test(
  "the next supervisor keeps what is equal, and changes what differs",
  withRig(async (rig) => {
    const cbc = inbound(1002, {
      aead: "aes-cbc-hmac-sha2-384-192",
      key: digits(3, 32),
      salt: undefined,
      "integrity-key": digits(4, 48),
      esn: false,
      "replay-window": 4096,
    });
    const policy = {
      id: "p",
      "if-id": 3,
      mark: 0,
      "local-ts": ["10.1.0.5-10.1.0.9[tcp/80]"],
      "remote-ts": ["0.0.0.0/0"],
    };
    const full = configuration({
      route: [{ ...route, "if-id": 3, mark: 9, net: ["10.2.0.0/16", "2001:db8:2::/48"], "local-net": [] }],
      "inbound-sa": [inbound(1001), cbc],
      "outbound-sa": [sa(2001, { aead: "chacha20-poly1305", key: digits(5, 32) })],
      "security-policy": [{ ...policy, action: "discard" }],
    });
    await rig.security.apply(undefined, full);
    const before = rig.touched();
    await rig.adopt();
    await rig.security.apply(undefined, full);
    assert.equal(rig.touched(), before, "something was touched that is as it should be");

    await rig.adopt();
    const slot = rig.slot(1001, true);
    await rig.security.apply(undefined, configuration());
    assert.deepEqual(rig.told(), whole);
    assert.notEqual(rig.slot(1001, true), slot, "it has another interface id");
  }),
);

test(
  "a supervisor that is killed while one SA takes the place of another: the next one finds one",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    const slots = [rig.slot(2001), rig.slot(1001, true)];
    rig.sad.enterBreath(0);
    const changed = configuration({
      "inbound-sa": [inbound(1001, { key: digits(0xee, 16) })],
      "outbound-sa": [sa(2001, { key: digits(0xdd, 16) })],
    });
    await rig.security.apply(configuration(), changed);
    // As it was before the last step: both are there, and the index leads to the old one.
    for (const slot of slots) rig.sad.publish(slot, SaState.active);
    rig.sad.indexReplace(1001, slots[1]);
    await rig.adopt();
    await rig.security.apply(undefined, changed);
    assert.deepEqual(rig.told(), whole);
    assert.deepEqual(rig.keys(), [digits(0xdd, 16) + digits(1, 4), digits(0xee, 16) + digits(1, 4)]);
    rig.sad.enterBreath(0);
    rig.kernel.sweep();
    const states = Array.from({ length: rig.sad.used }, (_, i) => rig.sad.state(i));
    assert.deepEqual(
      states.filter((state) => state !== SaState.free),
      [SaState.active, SaState.active],
    );
    await rig.security.apply(changed, configuration({ route: [], "inbound-sa": [], "outbound-sa": [] }));
    assert.deepEqual(rig.told(), []);
  }),
);
