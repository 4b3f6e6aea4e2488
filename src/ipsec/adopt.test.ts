// A supervisor that takes over from one that was killed in the middle of something. Each test leaves the shared memory as
// the killed one would have, and looks at what the next one makes of it.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { NodeEngine } from "./aead-node.js";
import { Status } from "./kernel.js";
import { PseudoKernel } from "./pseudo-kernel.js";
import { Sad } from "./sad.js";
import { SaState, saSlot } from "./sad-layout.js";
import { Spd } from "./spd.js";
import { host, saRequest } from "./testing/requests.js";

const at = saSlot.at;
const session = 7n;
const spiRequest = { src: host("192.0.2.2"), dst: host("192.0.2.1"), protocol: 50 };

interface Rig {
  sad: Sad;
  kernel: PseudoKernel;
  /** The next supervisor, on the same memory. */
  restart(): PseudoKernel;
}

function withRig(use: (rig: Rig) => void): () => void {
  return () => {
    const directory = mkdtempSync(join(tmpdir(), "vita-adopt-"));
    const sad = Sad.create(join(directory, "sad"), 16, NodeEngine.id);
    const spd = Spd.create(join(directory, "spd"), 16);
    const start = () => new PseudoKernel({ sad, spd, engine: new NodeEngine(sad), now: () => 100 });
    try {
      use({ sad, kernel: start(), restart: start });
    } finally {
      sad.close();
      spd.close();
      rmSync(directory, { recursive: true });
    }
  };
}

test(
  "an SA that was filled and never published leaves no key",
  withRig(({ sad, restart }) => {
    const slot = sad.allocate();
    const base = sad.offset(slot);
    sad.words[(base + at.spi) >>> 2] = 0xc0000001;
    sad.region.bytes.fill(0xaa, base + at.key, base + at.key + 16);
    restart();
    assert.equal(sad.state(slot), SaState.free);
    assert.equal(sad.region.bytes.indexOf(0xaa, base), -1);
  }),
);

test(
  "a reserved SPI that was published, but not entered into the index, is found and completed",
  withRig(({ sad, kernel, restart }) => {
    const { spi = 0 } = kernel.getSpi(spiRequest, session);
    sad.words.fill(0, sad.indexOffset >>> 2, (sad.indexOffset >>> 2) + 2 * (sad.indexMask + 1));
    assert.equal(sad.lookup(spi), -1);
    const next = restart();
    const answer = next.addSa(
      saRequest({ spi, inbound: true, update: true, src: "192.0.2.2", dst: "192.0.2.1" }),
      session,
    );
    assert.equal(answer.status, Status.success, answer.reason);
    assert.equal(sad.state(sad.lookup(spi)), SaState.active);
  }),
);

test(
  "an SA on its way out, taken from the index only, can be deleted again",
  withRig(({ sad, kernel, restart }) => {
    const { spi = 0 } = kernel.getSpi(spiRequest, session);
    const request = saRequest({ spi, inbound: true, update: true, src: "192.0.2.2", dst: "192.0.2.1" });
    kernel.addSa(request, session);
    sad.words.fill(0, sad.indexOffset >>> 2, (sad.indexOffset >>> 2) + 2 * (sad.indexMask + 1));
    const next = restart();
    assert.equal(next.deleteSa(request.id).status, Status.success);
    assert.equal(sad.lookup(spi), -1);
  }),
);

test(
  "a new key manager's SA replaces an orphan of the same SPI, but nobody else's",
  withRig(({ kernel, sad }) => {
    const request = () => saRequest({ spi: 0xc0000101, inbound: false });
    kernel.sessionOpened(session);
    assert.equal(kernel.addSa(request(), session).status, Status.success);
    kernel.sessionOpened(8n);
    assert.match(kernel.addSa(request(), 8n).reason ?? "", /in use/);
    kernel.sessionClosed(session);
    assert.equal(kernel.addSa(request(), 8n).status, Status.success);
    const states = Array.from({ length: sad.slotCount }, (_, slot) => sad.state(slot));
    assert.equal(states.filter((state) => state === SaState.active).length, 1);
  }),
);
