// What `bench instructions` steps through: `instructions-child.js SIZE INSERTIONS` runs softbench until it is warm, says so, and
// runs on until its parent is gone. Whatever it is asked, it answers that V8 has written down what it has told so far.

import { setImmediate } from "node:timers/promises";
import koffi from "koffi";
import { answerRounds } from "./contender.js";
import { giveLines } from "./line-profile.js";
import { parseSize } from "./sizes.js";

/** Packets that make whole breaths. */
const ROUND = 256 * 128;
const WARM_UP_ROUNDS = 100;

const [size = "", insertions = "[]"] = process.argv.slice(2);
giveLines(JSON.parse(insertions));
const { oneFlow, Softbench } = await import("./softbench.js");
const bench = new Softbench(oneFlow(parseSize(size)));
for (let i = 0; i < WARM_UP_ROUNDS; i++) bench.send(ROUND);

const flush = koffi.load("libc.so.6").func("int fflush(void *stream)");
answerRounds(() => flush(null) === 0 && bench.lost === 0, 0);
process.once("disconnect", () => process.exit());
for (;;) {
  bench.send(64 * ROUND);
  await setImmediate();
}
