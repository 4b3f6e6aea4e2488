// A contender that runs softbench and crypto in turns, in one process: `pair.js SIZE CIPHER`. The two have nothing in common
// but the class of libIPSec_MB's manager, so that neither is compiled otherwise than alone, and they meet the same processor
// core at the same moment, which two processes do not. docs/performance.md has what was measured of that.

import { pathToFileURL } from "node:url";
import { type Cipher, parseCipher } from "./ciphers.js";
import { answerRounds } from "./contender.js";
import { ceilingOf } from "./crypto.js";
import type { Round } from "./rounds.js";
import { type FrameSize, parseSize } from "./sizes.js";
import { oneFlow, Softbench } from "./softbench.js";

export interface PairRound {
  crypto: Round;
  softbench: Round;
  /** Since the beginning. */
  lost: number;
  verified: boolean;
}

export const PAIR_WARM_UP = 400_000;

function start(size: FrameSize, cipher: Cipher): void {
  const softbench = new Softbench(oneFlow(size, cipher));
  const crypto = ceilingOf(cipher, size);
  answerRounds<PairRound>((packets) => {
    const ours = softbench.round(packets);
    const theirs = crypto.send(packets);
    const { lost, verified } = ours;
    return { softbench: ours, crypto: theirs, lost, verified: verified && crypto.verify() };
  }, PAIR_WARM_UP);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [size = "", cipher = ""] = process.argv.slice(2);
  start(parseSize(size), parseCipher(cipher));
}
