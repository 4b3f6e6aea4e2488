// charon's calls in the sequences that it makes (contract §4), on real shared memory.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeEngine } from "./aead-node.js";
import { type AddSaRequest, type PolicyRequest, Status } from "./kernel.js";
import { NARROWED_SECONDS } from "./narrowed-traps.js";
import { readEndPoints } from "./outer-header.js";
import { LARVAL_SECONDS, ORPHAN_SECONDS, PseudoKernel } from "./pseudo-kernel.js";
import { saIdentity } from "./sa-identity.js";
import { SaFlag, SaState, SELECTOR_SIZE, saSlot } from "./sad-layout.js";
import { readSelector } from "./selectors.js";
import { NARROWED } from "./spd-layout.js";
import {
  addSa,
  inId,
  key,
  moved,
  net,
  outId,
  peer,
  policy,
  session,
  us,
  withRig,
} from "./testing/kernel-rig.js";

const none = { value: 0, mask: 0 };

test(
  "SPIs below 256 are refused",
  withRig((rig) => {
    assert.match(rig.kernel.addSa(addSa(0xc1, false), session).reason ?? "", /reserved/);
  }),
);

test(
  "rekey: the out entry with the new SPI takes over, and the old one returns when it goes",
  withRig((rig) => {
    const old = rig.establish(0xc0000101);
    assert.equal(rig.protectedBy(), 0xc0000101);
    const { kernel } = rig;
    const { spi } = kernel.getSpi({ src: peer, dst: us, protocol: 50 }, session);
    assert.ok(spi);
    rig.ok(kernel.addSa(addSa(spi, true), session));
    rig.ok(kernel.addSa(addSa(0xc0000102, false), session));
    assert.equal(rig.protectedBy(), 0xc0000101, "without a policy of its own the new SA is not used");
    for (const direction of [0, 2]) rig.ok(kernel.addPolicy(policy(direction, spi), session));
    rig.ok(kernel.addPolicy(policy(1, 0xc0000102), session));
    assert.equal(rig.protectedBy(), 0xc0000102);
    assert.equal(rig.sad.state(rig.sad.lookup(old)), SaState.active, "the old inbound SA still receives");
    rig.ok(kernel.deletePolicy(policy(1, 0xc0000101)));
    rig.ok(kernel.deleteSa(outId(0xc0000101)));
    for (const direction of [0, 2]) rig.ok(kernel.deletePolicy(policy(direction, old)));
    rig.ok(kernel.deleteSa(inId(old)));
    assert.equal(rig.protectedBy(), 0xc0000102);
    assert.equal(rig.count(SaState.active), 2);
    assert.equal(kernel.deletePolicy(policy(1, 0xc0000101)).status, Status.notFound);
  }),
);

test(
  "an SA that is added after its policy is found by it",
  withRig((rig) => {
    rig.ok(rig.kernel.addPolicy(policy(1, 0xc0000101), session));
    assert.equal(rig.protectedBy(), undefined);
    rig.ok(rig.kernel.addSa(addSa(0xc0000101, false), session));
    assert.equal(rig.protectedBy(), 0xc0000101);
    rig.ok(rig.kernel.deleteSa(outId(0xc0000101)));
    assert.equal(rig.protectedBy(), undefined);
  }),
);

test(
  "deletes of what never was are answered with NOT_FOUND",
  withRig(({ kernel }) => {
    assert.equal(kernel.deleteSa(outId(0xc0000105)).status, Status.notFound);
    assert.equal(kernel.deleteSa(inId(0xc0000105)).status, Status.notFound);
    assert.equal(kernel.deletePolicy(policy(1, 0xc0000105)).status, Status.notFound);
    assert.equal(kernel.querySa(outId(0xc0000105)).status, Status.notFound);
  }),
);

test(
  "a reserved SPI is given up after a while, and the SA can be added all the same",
  withRig((rig) => {
    const { spi } = rig.kernel.getSpi({ src: peer, dst: us, protocol: 50 }, session);
    assert.ok(spi && spi >= 0xc0000000 && spi <= 0xcfffffff);
    rig.now += LARVAL_SECONDS - 1;
    rig.kernel.sweep();
    assert.equal(rig.count(SaState.larval), 1);
    rig.now += 1;
    rig.kernel.sweep();
    assert.equal(rig.count(SaState.larval), 0);
    rig.ok(rig.kernel.addSa(addSa(spi, true), session));
    assert.equal(rig.sad.state(rig.sad.lookup(spi)), SaState.active);
  }),
);

test(
  "an SPI that is in use is not given out again",
  withRig(({ sad, spd }) => {
    const drawn = [5, 5, 5, 6];
    const random = () => drawn.shift() ?? 0;
    const kernel = new PseudoKernel({ sad, spd, engine: new NodeEngine(sad), now: () => 1000, random });
    const reserve = () => kernel.getSpi({ src: peer, dst: us, protocol: 50 }, session).spi;
    assert.deepEqual([reserve(), reserve()], [0xc0000005, 0xc0000006]);
    assert.deepEqual(drawn, []);
  }),
);

test(
  "an address change: the drop entry wins meanwhile, then everything goes by the new addresses",
  withRig((rig) => {
    const spi = rig.establish(0xc0000101);
    const { kernel } = rig;
    const drop = policy(1, 0, { type: 3, usesEsp: false });
    rig.ok(kernel.addPolicy(drop, session));
    assert.equal(rig.protectedBy(), undefined);
    for (const direction of [1, 0, 2])
      rig.ok(kernel.deletePolicy(policy(direction, direction === 1 ? 0xc0000101 : spi)));
    const update = { udpEncapsulation: false, newUdpEncapsulation: true, newReqid: 0 };
    rig.ok(kernel.updateSa({ ...update, id: inId(spi), newSrc: moved, newDst: us }));
    rig.ok(kernel.updateSa({ ...update, id: outId(0xc0000101), newSrc: us, newDst: moved }));
    for (const direction of [0, 2]) rig.ok(kernel.addPolicy(policy(direction, spi, { src: moved }), session));
    rig.ok(kernel.addPolicy(policy(1, 0xc0000101, { dst: moved }), session));
    rig.ok(kernel.deletePolicy(drop));
    assert.equal(rig.protectedBy(), 0xc0000101);
    assert.deepEqual(readEndPoints(rig.sad, rig.sad.lookup(spi)).src, moved);
    assert.equal(
      kernel.querySa(outId(0xc0000101)).status,
      Status.notFound,
      "the old address names it no more",
    );
    rig.ok(kernel.querySa({ ...outId(0xc0000101), dst: moved }));
    rig.ok(kernel.deleteSa({ ...outId(0xc0000101), dst: moved }));
  }),
);

test(
  "a supervisor that dies while a deleted SA lingers: the next one ends it, and its SPI is free",
  withRig((rig) => {
    rig.restart(true);
    const spi = rig.establish(0xc0000101);
    rig.ok(rig.kernel.deleteSa(inId(spi)));
    assert.equal(rig.kernel.querySa(inId(spi)).status, Status.notFound);
    assert.equal(rig.kernel.deleteSa(inId(spi)).status, Status.notFound);
    assert.ok(rig.sad.lookup(spi) >= 0, "workers still find it");
    rig.restart(true);
    assert.equal(rig.sad.lookup(spi), -1);
    rig.kernel.sweep();
    assert.equal(rig.count(SaState.dying), 0);
    rig.ok(rig.kernel.addSa(addSa(spi, true), session));
  }),
);

test(
  "a trap counts as narrowed while its reqid has an SA that is not brand new, whoever supervises",
  withRig((rig) => {
    const trap = policy(1, 0, { priorityClass: 2 });
    rig.ok(rig.kernel.addPolicy(trap, session));
    const marked = () => rig.spd.sa(0);
    assert.equal(marked(), -1);
    rig.establish(0xc0000101);
    rig.kernel.sweep();
    assert.equal(marked(), -1, "its policies may be on their way");
    rig.restart();
    rig.now += NARROWED_SECONDS;
    rig.kernel.sweep();
    assert.equal(marked(), NARROWED);
    rig.restart();
    assert.equal(marked(), NARROWED);
    rig.ok(rig.kernel.addSa(addSa(0xc0000102, false), session));
    rig.ok(rig.kernel.deleteSa(outId(0xc0000101)));
    assert.equal(marked(), -1, "what is left is young");
    rig.now += NARROWED_SECONDS;
    rig.kernel.sweep();
    assert.equal(marked(), NARROWED);
    const traps = () =>
      Array.from({ length: rig.spd.used }, (_, i) => i)
        .filter((i) => rig.spd.present(i) && rig.spd.read(i).espSpi === 0)
        .map((i) => rig.spd.sa(i));
    rig.ok(rig.kernel.deletePolicy(trap));
    assert.deepEqual(traps(), []);
    rig.ok(rig.kernel.addPolicy(trap, session));
    assert.deepEqual(traps(), [NARROWED]);
    rig.ok(rig.kernel.deletePolicy(trap));
    rig.ok(rig.kernel.addPolicy(trap, session + 1n));
    assert.deepEqual(traps(), [-1], "a new charon counts its reqids from 1 again");
    assert.equal(rig.kernel.deletePolicy(trap).status, Status.success);
    rig.ok(rig.kernel.addPolicy(trap, session));
    rig.ok(rig.kernel.deleteSa(outId(0xc0000102)));
    assert.deepEqual(traps(), [-1]);
  }),
);

test(
  "what is not supported is refused with a reason, which never tells keys",
  withRig((rig) => {
    const base = addSa(0xc0000101, false);
    const refused: [Partial<AddSaRequest>, RegExp][] = [
      [{ mode: 1 }, /transport mode protects this host's own traffic/],
      // More of this kind: transforms.test.ts.
      [{ encryption: 21 }, /AES-GMAC is not .*esp_proposals/],
      [{ encryptionKey: key.subarray(0, 19) }, /20, 28, 36 bytes/],
      [{ ipcomp: 2 }, /IPComp/],
      [{ id: { ...base.id, protocol: 51 } }, /AH is not .*esp_proposals/],
      [{ id: { ...base.id, dst: { address: new Uint8Array(16), port: 0 } } }, /families/],
      [{ replayWindow: 100_000, inbound: true }, /replay_window 100000/],
      [{ labelled: true }, /labels/],
      [{ interface: "lan0" }, /interface = lan0 .*wan0/],
      [{ hardwareOffload: "packet" }, /hw_offload/],
      [{ srcSelectors: [] }, /without traffic selectors/],
      [{ srcSelectors: Array.from({ length: 50 }, () => net(1)) }, /51 traffic selectors/],
    ];
    for (const [change, reason] of refused) {
      const answer = rig.kernel.addSa({ ...base, ...change }, session);
      assert.equal(answer.status, Status.failed, `${reason}`);
      assert.match(answer.reason ?? "", reason);
      assert.ok(!/a0a1|160,161/i.test(answer.reason ?? ""));
    }
    assert.equal(rig.count(SaState.active), 0);
    const unbound = policy(1, 0xc0000101);
    const bound = { ...unbound, id: { ...unbound.id, interface: "lan0" } };
    assert.match(rig.kernel.addPolicy(bound, session).reason ?? "", /interface = lan0 .*wan0/);
    rig.ok(rig.kernel.addPolicy({ ...bound, id: { ...bound.id, interface: "wan0" } }, session));
    const ah = rig.kernel.getSpi({ src: peer, dst: us, protocol: 51 }, session);
    assert.match(ah.reason ?? "", /AH is not supported/);
  }),
);

test(
  "marks and interface ids are part of what SAs and policies are",
  withRig((rig) => {
    const { kernel } = rig;
    const marked = (value: number, mask = 0xffffffff) => ({ mark: { value, mask }, interfaceId: 0 });
    const identities = [
      { mark: none, interfaceId: 0 },
      { mark: none, interfaceId: 5 },
      marked(5),
      marked(5, 0xff),
    ];
    const spi = 0xc0000101;
    const sa = (identity: object, change: Partial<AddSaRequest> = {}) => {
      const base = addSa(spi, false, change);
      return { ...base, id: { ...base.id, ...identity } };
    };
    const out = (identity: object) => {
      const base = policy(1, spi);
      return { ...base, id: { ...base.id, ...identity } };
    };
    const slotsOf = () =>
      Array.from({ length: rig.spd.used }, (_, entry) => (rig.spd.present(entry) ? rig.spd.sa(entry) : -2));
    for (const identity of identities) rig.ok(kernel.addPolicy(out(identity), session));
    assert.deepEqual(slotsOf(), [-1, -1, -1, -1]);
    for (const identity of identities) rig.ok(kernel.addSa(sa(identity), session));
    assert.equal(new Set(slotsOf()).size, 4);
    assert.match(kernel.addSa(sa(marked(5)), session).reason ?? "", /in use/);
    assert.equal(rig.count(SaState.active), 4);

    // The interface id must be the same; an SA without a mark serves policies with any.
    const [plain, bound] = slotsOf();
    rig.ok(kernel.deleteSa(sa(marked(5)).id));
    rig.ok(kernel.deleteSa(sa(marked(5, 0xff)).id));
    assert.deepEqual(slotsOf(), [plain, bound, plain, plain]);
    rig.ok(kernel.deleteSa(sa({}).id));
    assert.deepEqual(slotsOf(), [-1, bound, -1, -1]);
    assert.equal(kernel.deleteSa(sa(marked(5)).id).status, Status.notFound);

    rig.ok(kernel.addSa(sa(marked(5), { reqid: 9 }), session));
    rig.ok(
      kernel.updateSa({
        id: sa(marked(5)).id,
        newSrc: us,
        newDst: moved,
        udpEncapsulation: false,
        newUdpEncapsulation: true,
        newReqid: 0,
      }),
    );
    assert.deepEqual(slotsOf(), [-1, bound, -1, -1]);

    // A policy is asked about, and deleted, by all of what it is.
    assert.equal(kernel.queryPolicy(out(marked(6)).id).status, Status.notFound);
    assert.equal(kernel.deletePolicy(out(marked(6))).status, Status.notFound);
    rig.ok(kernel.queryPolicy(out(marked(5)).id));
    rig.ok(kernel.deletePolicy(out(marked(5))));
    assert.deepEqual(slotsOf(), [-1, bound, -2, -1]);
    assert.equal(kernel.queryPolicy(out(marked(5)).id).status, Status.notFound);
  }),
);

test(
  "an inbound SA takes the mark of its `in` policy, once, unless it has its own",
  withRig((rig) => {
    const inbound = (identity: object, reqid = 1) => {
      const answer = rig.kernel.getSpi({ src: peer, dst: us, protocol: 50 }, session);
      const base = addSa(answer.spi as number, true, { reqid });
      rig.ok(rig.kernel.addSa({ ...base, id: { ...base.id, ...identity } }, session));
      return answer.spi as number;
    };
    const withMark = (spi: number, value: number): PolicyRequest => {
      const base = policy(0, spi);
      return { ...base, id: { ...base.id, mark: { value, mask: 0xff } } };
    };
    const markOf = (spi: number) => {
      const slot = rig.sad.lookup(spi);
      const known = (rig.sad.flags(slot) & SaFlag.markKnown) !== 0;
      return [known, saIdentity(rig.sad, slot).mark.value];
    };
    const spi = inbound({});
    assert.deepEqual(markOf(spi), [false, 0]);
    rig.ok(rig.kernel.addPolicy(withMark(spi, 7), session));
    assert.deepEqual(markOf(spi), [true, 7]);
    rig.ok(rig.kernel.addPolicy(withMark(spi, 8), session));
    rig.restart();
    assert.deepEqual(markOf(spi), [true, 7]);
    assert.deepEqual(markOf(inbound({})), [true, 7], "of the same reqid");
    const own = inbound({ mark: { value: 9, mask: 0xff } });
    rig.ok(rig.kernel.addPolicy(withMark(own, 8), session));
    assert.deepEqual(markOf(own), [true, 9]);
    const unmarked = inbound({}, 2);
    rig.ok(rig.kernel.addPolicy(policy(0, unmarked), session));
    assert.deepEqual(markOf(unmarked), [true, 0]);
  }),
);

test(
  "full tables are refused, not overrun",
  withRig((rig) => {
    for (let i = 0; i < 16; i++) rig.ok(rig.kernel.addSa(addSa(0xc0001000 + i, false), session));
    assert.match(rig.kernel.addSa(addSa(0xc0002000, false), session).reason ?? "", /SAD is full/);
    assert.equal(rig.kernel.getSpi({ src: peer, dst: us, protocol: 50 }, session).status, Status.failed);
    for (let i = 0; i < 16; i++) rig.ok(rig.kernel.addPolicy(policy(1, 0xc0001000 + i), session));
    assert.match(rig.kernel.addPolicy(policy(1, 0), session).reason ?? "", /SPD is full/);
    assert.equal(rig.kernel.addSa(addSa(0xc0001000, false), session).status, Status.failed);
  }),
);

test(
  "a supervisor that starts again knows everything; what belongs to nobody goes after a while",
  withRig((rig) => {
    const spi = rig.establish(0xc0000101);
    rig.restart();
    assert.equal(rig.protectedBy(), 0xc0000101);
    rig.ok(rig.kernel.querySa(inId(spi)));
    rig.kernel.sessionOpened(session);
    rig.now += ORPHAN_SECONDS + 1;
    rig.kernel.sweep();
    assert.equal(rig.count(SaState.active), 2, "its session is here");
    rig.kernel.sessionClosed(session);
    rig.now += ORPHAN_SECONDS;
    rig.kernel.sweep();
    assert.equal(rig.count(SaState.active), 0);
    assert.equal(rig.spd.present(0), false);
    const key0 = Buffer.from(key.subarray(0, 16));
    assert.equal(Buffer.from(rig.sad.region.bytes).indexOf(key0), -1, "the key is still in the SAD");
  }),
);

test(
  "a slot waits for workers that may be using it",
  withRig((rig) => {
    rig.establish(0xc0000101);
    rig.sad.enterBreath(0);
    rig.ok(rig.kernel.deleteSa(outId(0xc0000101)));
    assert.equal(rig.count(SaState.dying), 1);
    rig.kernel.sweep();
    assert.equal(rig.count(SaState.dying), 1);
    rig.sad.enterBreath(0);
    rig.kernel.sweep();
    assert.equal(rig.count(SaState.dying), 0);
  }),
);

test(
  "what belongs to another key manager cannot be changed, deleted, taken over or named",
  withRig((rig) => {
    const spi = rig.establish(0xc0000101);
    const { kernel } = rig;
    const other = session + 1n;
    const refused = (answer: { status: number; reason?: string }) => {
      assert.equal(answer.status, Status.failed);
      assert.match(answer.reason ?? "", /belongs to another key manager|is in use/);
    };
    for (const id of [inId(spi), outId(0xc0000101)]) {
      refused(kernel.deleteSa(id, other));
      const move = { newSrc: peer, newDst: us, udpEncapsulation: false, newUdpEncapsulation: false };
      refused(kernel.updateSa({ id, ...move, newReqid: 0 }, other));
    }
    refused(kernel.addPolicy(policy(1, 0xc0000101), other));
    const reserved = kernel.getSpi({ src: peer, dst: us, protocol: 50 }, session).spi!;
    refused(kernel.addSa(addSa(reserved, true), other));
    assert.equal(kernel.deletePolicy(policy(1, 0xc0000101), other).status, Status.notFound);
    rig.ok(kernel.flushSas(other));
    rig.ok(kernel.flushPolicies(other));
    assert.equal(rig.count(SaState.active), 2);
    assert.equal(rig.protectedBy(), 0xc0000101);
    rig.ok(kernel.flushPolicies(session));
    rig.ok(kernel.flushSas(session));
    assert.equal(rig.count(SaState.active), 0);
  }),
);

test(
  "an SA is not found under another protocol's number",
  withRig((rig) => {
    const spi = rig.establish(0xc0000101);
    for (const id of [inId(spi), outId(0xc0000101)]) {
      assert.equal(rig.kernel.deleteSa({ ...id, protocol: 51 }).status, Status.notFound);
      assert.equal(rig.kernel.querySa({ ...id, protocol: 51 }).status, Status.notFound);
      rig.ok(rig.kernel.querySa(id));
    }
  }),
);

test(
  "reserved SPIs cannot fill the SAD",
  withRig((rig) => {
    const reserve = () => rig.kernel.getSpi({ src: peer, dst: us, protocol: 50 }, session);
    let reserved = 0;
    while (reserved < rig.sad.slotCount && reserve().status === Status.success) reserved++;
    assert.match(reserve().reason ?? "", /SPIs are reserved and wait for their keys/);
    assert.ok(rig.sad.available > 0);
  }, 40),
);

test(
  "many selectors and a large window have a second slot, which goes with the first one",
  withRig((rig) => {
    const before = rig.sad.available;
    const srcSelectors = Array.from({ length: 20 }, (_, i) => net(i));
    const request = { ...addSa(0xc0000101, true), srcSelectors, replayWindow: 4096 };
    rig.ok(rig.kernel.addSa(request, session));
    assert.equal(rig.sad.available, before - 2);
    const word = (field: number) => rig.sad.words[(rig.sad.offset(rig.sad.lookup(0xc0000101)) + field) >>> 2];
    const extension = word(saSlot.at.extension) - 1;
    assert.equal(rig.sad.state(extension), SaState.extension);
    const at = 4 * word(saSlot.at.selectorsAt);
    assert.deepEqual(readSelector(rig.sad.region, at + 19 * SELECTOR_SIZE), net(19));
    // A supervisor that died between the two slots: nobody points at the second one.
    const orphan = rig.sad.extend(rig.sad.allocate());
    rig.restart();
    assert.equal(rig.sad.state(orphan), SaState.free);
    assert.equal(rig.sad.state(extension), SaState.extension);
    rig.ok(rig.kernel.deleteSa(inId(0xc0000101)));
    assert.equal(rig.sad.state(extension), SaState.free);
    const beside = { ...request, srcSelectors: Array.from({ length: 25 }, (_, i) => net(i)) };
    assert.match(
      rig.kernel.addSa(beside, session).reason ?? "",
      /26 traffic selectors, an SA has room for 25/,
    );
  }),
);
