// Sequence numbers of static SAs: none is used twice with a key, whatever ends and begins.

import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { NodeEngine } from "../ipsec/aead-node.js";
import type { AddSaRequest } from "../ipsec/kernel.js";
import { PseudoKernel } from "../ipsec/pseudo-kernel.js";
import { readSa } from "../ipsec/read-sa.js";
import { acceptReplay, topSequence } from "../ipsec/replay.js";
import { Sad } from "../ipsec/sad.js";
import { ceilingOf, lastSequence, reserveSequence } from "../ipsec/sequence.js";
import { Spd } from "../ipsec/spd.js";
import { markId } from "./sequence-marks.js";
import { STATIC_SESSION, StaticSecurity } from "./static-security.js";
import { configuration, inbound, type Rig, sa, withRig } from "./testing/static-rig.js";

/** Numbers that an SA has had, in lives that follow each other. */
class Lives {
  readonly #lives: [number, number][] = [];
  add(from: number, to: number): void {
    for (const [a, b] of this.#lives) assert.ok(to < a || from > b, `${from} to ${to} overlaps ${a} to ${b}`);
    this.#lives.push([from, to]);
  }
}

test(
  "no number is used twice with a key, whatever ends and begins",
  withRig(async (rig) => {
    const lives = new Lives();
    const full = configuration();
    const empty = configuration({ "outbound-sa": [] });
    const live = async (count: number) => {
      const slot = rig.slot(2001);
      const first = rig.last(slot) + 1;
      assert.equal(rig.use(slot, count), count);
      lives.add(first, rig.last(slot));
    };
    const M = 2 ** 20;
    await rig.security.apply(undefined, full);
    assert.equal(rig.last(rig.slot(2001)), 0, "a new key begins at 1");
    await live(3 * M);
    await rig.adopt();
    await rig.security.apply(undefined, full);
    await live(3 * M);
    await rig.reboot(false);
    await rig.security.apply(undefined, full);
    await live(5 * M);
    await rig.security.apply(full, empty);
    await rig.security.apply(empty, full);
    await live(2 * M);
    const rolled = configuration({ "outbound-sa": [sa(2002, { key: sa(2001).key })] });
    await rig.security.apply(full, rolled);
    const other = rig.slot(2002);
    const first = rig.last(other) + 1;
    rig.use(other, M);
    lives.add(first, rig.last(other));
    await rig.security.apply(rolled, full);
    await live(M);
    const end = rig.last(rig.slot(2001));
    await rig.reboot(true);
    await rig.security.apply(undefined, full);
    assert.equal(rig.last(rig.slot(2001)), end, "an orderly end costs no numbers");
    await live(M);
    await rig.reboot(false);
    await rig.security.apply(undefined, empty);
    await rig.reboot(false);
    await rig.security.apply(undefined, full);
    await live(M);
    assert.ok(rig.last(rig.slot(2001)) < 2 ** 28, "that cost more than it should");
  }),
);

test(
  "workers stop at the ceiling, and the supervisor raises it in time",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    const slot = rig.slot(2001);
    const mark = () => rig.marks.get([...marksOf(rig)][0]);
    assert.ok(mark() >= 2 ** 24);
    for (let n = 0; n < 40; n++) {
      assert.equal(rig.use(slot, 6 * 2 ** 20), 6 * 2 ** 20, "the ceiling was not raised in time");
      await rig.security.check();
      assert.ok(mark() > rig.last(slot) + 2 ** 20);
      assert.ok(mark() - rig.last(slot) < 2 ** 27);
    }
    // Nobody is there to raise it.
    const used = rig.use(slot, Number.MAX_SAFE_INTEGER, 128);
    assert.ok(used > 0 && rig.last(slot) < mark(), "numbers were used that are not set aside");
    assert.equal(rig.use(slot, 1), 0);
    await rig.security.check();
    assert.equal(rig.use(slot, 2 ** 20), 2 ** 20);
  }),
);

function* marksOf(rig: Rig): Generator<string> {
  for (const slot of rig.kernel.sasOf(STATIC_SESSION))
    if (!rig.sad.isInbound(slot)) yield idOf(readSa(rig.sad, slot));
}

function idOf({ inbound: isInbound, encryptionKey }: AddSaRequest): string {
  return markId(isInbound ? "in" : "out", encryptionKey);
}

test(
  "other tables that were given up again: what they have used of a key is not used a second time",
  withRig(async (rig) => {
    const full = configuration();
    await rig.security.apply(undefined, full);
    const lives = new Lives();
    const begun = rig.slot(2001);
    rig.use(begun, 2 ** 20);

    // A second SAD, with workers of its own, for a while.
    const sad = Sad.create(join(rig.directory, "other-sad"), 16, NodeEngine.id);
    const spd = Spd.create(join(rig.directory, "other-spd"), 16);
    const kernel = new PseudoKernel({ sad, spd, engine: new NodeEngine(sad), now: () => 0 });
    const { marks } = rig;
    const logger = { info() {}, warn: (text: string) => rig.warnings.push(text) };
    const other = new StaticSecurity({
      kernel,
      sad,
      marks,
      logger,
      now: () => 0,
      addresses: () => rig.addresses,
    });
    await other.apply(undefined, full);
    const slot = kernel.sasOf(STATIC_SESSION).find((each) => !sad.isInbound(each))!;
    const word = sad.offset(slot) >>> 2;
    const first = Number(lastSequence(sad.atomics, word)) + 1;
    reserveSequence(sad.atomics, word, 2 ** 20);
    lives.add(first, Number(lastSequence(sad.atomics, word)));

    // The first one goes on, up to what was set aside for it, and then behind the other.
    lives.add(1, rig.last(begun) + rig.use(begun, Number.MAX_SAFE_INTEGER));
    await rig.security.check();
    const next = rig.slot(2001);
    assert.notEqual(next, begun);
    const from = rig.last(next) + 1;
    rig.use(next, 2 ** 22);
    lives.add(from, rig.last(next));
    // What it leaves at its end must not give the other's numbers away, either way round.
    await rig.security.settle();
    await other.settle();
    await rig.reboot(false);
    await rig.security.apply(undefined, full);
    const after = rig.last(rig.slot(2001)) + 1;
    rig.use(rig.slot(2001), Number.MAX_SAFE_INTEGER);
    lives.add(after, rig.last(rig.slot(2001)));
    sad.close();
    spd.close();
  }),
);

test(
  "a disk that fails: no ceiling is raised, and it is told once",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    const slot = rig.slot(2001);
    mkdirSync(join(rig.directory, "state", "sequence-marks.new"));
    rig.use(slot, 12 * 2 ** 20);
    const before = ceilingOf(rig.sad.words, rig.word(slot));
    for (let i = 0; i < 3; i++) await rig.security.check();
    assert.equal(ceilingOf(rig.sad.words, rig.word(slot)), before);
    assert.equal(rig.warnings.length, 1);
    assert.match(rig.warnings[0], /cannot be noted.*EISDIR/);
    await rig.refuses(
      configuration({ "outbound-sa": [sa(2001), sa(2002, { route: "foo" })] }),
      /\/outbound-sa\[spi="2002"\]: EISDIR/,
    );
    rmSync(join(rig.directory, "state", "sequence-marks.new"), { recursive: true });
    await rig.security.check();
    assert.ok(ceilingOf(rig.sad.words, rig.word(slot)) > before);
  }),
);

test(
  "damaged marks: no SA is started, whatever the direction",
  withRig(async (rig) => {
    mkdirSync(join(rig.directory, "state"));
    writeFileSync(join(rig.directory, "state", "sequence-marks"), "nonsense");
    await rig.refuses(
      configuration(),
      /\/inbound-sa\[spi="1001"\]: .*is damaged.*give every outbound SA a new key/,
    );
    await rig.refuses(configuration({ "inbound-sa": [] }), /\/outbound-sa\[spi="2001"\]: .*is damaged/);
    await rig.security.apply(undefined, configuration({ "inbound-sa": [], "outbound-sa": [] }));
    assert.equal(rig.told().length, 3, "the route without SAs drops");
    rmSync(join(rig.directory, "state", "sequence-marks"));
  }),
);

test(
  "marks that are lost, or an old copy, while the SAD is kept: the SAD is right",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    rig.use(rig.slot(2001), 9 * 2 ** 20);
    await rig.security.check();
    rig.use(rig.slot(2001), 40 * 2 ** 20);
    const last = rig.last(rig.slot(2001));
    await rig.marks.close();
    rmSync(join(rig.directory, "state", "sequence-marks"));
    await rig.adopt();
    await rig.security.apply(undefined, configuration());
    await rig.reboot(false);
    await rig.security.apply(undefined, configuration());
    assert.ok(rig.last(rig.slot(2001)) >= last);
  }),
);

test(
  "without extended sequence numbers a key ends at 2^32",
  withRig(async (rig) => {
    const short = configuration({ "outbound-sa": [sa(2001, { esn: false })] });
    await rig.security.apply(undefined, short);
    const slot = rig.slot(2001);
    for (let n = 0; n < 4096 + 64; n += 8) {
      assert.equal(rig.use(slot, 8 * 2 ** 20), 8 * 2 ** 20);
      if (n % 16 === 0) await rig.security.check();
    }
    assert.ok(rig.last(slot) > 2 ** 32, "the data path drops them, by their high half");
    const [id] = marksOf(rig);
    assert.equal(rig.marks.get(id), 2 ** 32);
    const none = configuration({ "outbound-sa": [] });
    await rig.security.apply(short, none);
    await rig.refuses(short, /^\/outbound-sa\[spi="2001"\]\/key: has used all of its 2\^32 sequence numbers/);
    await rig.reboot(false);
    await rig.security.apply(undefined, short);
    assert.match(rig.warnings.at(-1) ?? "", /has used all/);
    assert.ok(rig.last(rig.slot(2001)) >= 2 ** 32, "a node that starts has the SA, which carries nothing");
  }),
);

test(
  "inbound windows go on where they were: what was seen is not accepted again, what follows is",
  withRig(async (rig) => {
    const full = configuration();
    await rig.security.apply(undefined, full);
    const accept = (high: number, low: number) =>
      acceptReplay(rig.sad.words, rig.word(rig.slot(1001, true)), high, low) === 0;
    const top = () => topSequence(rig.sad.words, rig.word(rig.slot(1001, true)));
    assert.ok(accept(5, 70) && accept(5, 100));
    await rig.reboot(true);
    await rig.security.apply(undefined, full);
    assert.equal(top(), 5 * 2 ** 32 + 100);
    for (const low of [1, 37, 60, 70, 99, 100]) assert.ok(!accept(5, low), `${low} again`);
    for (const low of [101, 127, 128, 140, 130, 5000, 4990]) assert.ok(accept(5, low), `${low}`);
    assert.ok(!accept(5, 5000));

    // A minute later it is on disk, whatever ends then.
    await rig.security.check();
    rig.now += 60;
    await rig.security.check();
    await rig.reboot(false);
    await rig.security.apply(undefined, full);
    assert.equal(top(), 5 * 2 ** 32 + 5000);

    // Removed and added again, and changed in something else.
    assert.ok(accept(5, 6000));
    await rig.security.apply(full, configuration({ "inbound-sa": [] }));
    await rig.security.apply(configuration({ "inbound-sa": [] }), full);
    assert.ok(!accept(5, 6000));
    await rig.security.apply(
      full,
      configuration({ "inbound-sa": [inbound(1001, { "replay-window": 2000 })] }),
    );
    assert.ok(!accept(5, 6000) && !accept(5, 5999) && accept(5, 6001));

    // Removed, with all that was in memory lost a moment later.
    await rig.security.apply(full, configuration({ "inbound-sa": [] }));
    await rig.security.check();
    await rig.reboot(false);
    await rig.security.apply(undefined, full);
    assert.ok(!accept(5, 6001));
  }),
);

test(
  "a key that the node has used under another name is refused, and so is another node's",
  withRig(async (rig) => {
    await rig.security.apply(undefined, configuration());
    rig.use(rig.slot(2001), 2 ** 20);
    rig.state = "renamed";
    await rig.reboot(true);
    const where = join(rig.directory, "state", "sequence-marks");
    await rig.refuses(
      configuration({ "outbound-sa": [sa(2002), sa(2001)] }),
      new RegExp(
        `^/outbound-sa\\[spi="2001"\\]/key: was used by another node of this machine \\(see ${where}\\)`,
      ),
    );
    // The other end of its own SA may well be on this machine.
    await rig.security.apply(undefined, configuration({ "outbound-sa": [], "inbound-sa": [inbound(2001)] }));
    // With its folder the node finds what it knew.
    await rig.marks.close();
    rig.state = "state";
    await rig.reboot(true);
    await rig.security.apply(undefined, configuration());
    assert.ok(rig.last(rig.slot(2001)) >= 2 ** 20);
  }),
);
