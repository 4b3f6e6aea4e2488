// The pace of datagrams to programs on this host.

import assert from "node:assert/strict";
import { test } from "node:test";
import { withLab } from "../src/lab/lab.js";
import { runInside } from "./ports/child.js";

interface PacingResult {
  sent: number;
  paced: number;
  unpaced: number;
}

test("a program that shares its processor with the worker gets to read its datagrams", async () => {
  await withLab("pacing", async (lab) => {
    const namespace = await lab.namespace("host");
    const { sent, paced, unpaced } = await runInside<PacingResult>(namespace, "tun-pacing");
    const text = `of ${sent}, ${paced} arrived with pauses and ${unpaced} without`;
    assert.ok(sent - unpaced > sent / 10, `nothing to be seen: ${text}`);
    assert.ok(sent - paced < (sent - unpaced) / 2, text);
  });
});
