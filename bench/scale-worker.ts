// A contender of `scale`: one worker of several over the same tables, tied to a processor of its own:
// `scale-worker.js SIZE DIRECTORY WORKER PROCESSOR`. Worker 0 makes the tables.

import { pathToFileURL } from "node:url";
import { MAX_REPLAY_WINDOW } from "../src/ipsec/sad-layout.js";
import { pinToCore } from "../src/native/affinity.js";
import { answerRounds } from "./contender.js";
import { type FrameSize, parseSize } from "./sizes.js";
import { oneFlow, Softbench } from "./softbench.js";

/** A round: from when to when, in nanoseconds of the clock that all processes share. */
export interface Order {
  begin: number;
  end: number;
}

/** What became of it. */
export interface Answer {
  packets: number;
  bytes: number;
  nanoseconds: number;
  lost: number;
  verified: boolean;
}

/** Packets between two looks at the clock. */
const STEP = 10_000;
/** Nanoseconds. */
const WARM_UP = 200e6;

export const now = () => Number(process.hrtime.bigint());

function start(size: FrameSize, directory: string, worker: number, core: number): void {
  pinToCore(core);
  const options = oneFlow(size);
  const shared = { directory, worker, creates: worker === 0, replayWindow: MAX_REPLAY_WINDOW };
  const bench = new Softbench(options, shared);
  const round = ({ begin, end }: Order): Answer => {
    const { sentBytes, lost } = bench;
    while (now() < begin);
    const started = now();
    let packets = 0;
    let verified = true;
    let ended = started;
    do {
      const step = bench.round(STEP);
      packets += step.packets;
      verified &&= step.verified;
      ended = now();
    } while (ended < end);
    return {
      packets,
      bytes: bench.sentBytes - sentBytes,
      nanoseconds: ended - started,
      lost: bench.lost - lost,
      verified,
    };
  };
  answerRounds(round, { begin: 0, end: now() + WARM_UP });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [size = "", directory = "", worker, core] = process.argv.slice(2);
  start(parseSize(size), directory, Number(worker), Number(core));
}
