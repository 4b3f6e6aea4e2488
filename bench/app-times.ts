// What each app of softbench's graph takes for a packet. Apps call each other for each packet, and V8 compiles them into each
// other, so that no clock can be held to one of them. V8's sampling profiler tells the modules' shares (line-profile.ts), and
// a clock, while it is off, what the whole takes. An app's time is that of its module and of those that only it uses; what all
// use (links, frames, checksums) is a row of its own.

import type { Cipher } from "./ciphers.js";
import { CryptoBench } from "./crypto.js";
import { type FlameNode, flameTree } from "./flame-tree.js";
import { LineProfiler, samplesByModule } from "./line-profile.js";
import { best, type Round } from "./rounds.js";
import type { FrameSize } from "./sizes.js";
import { oneFlow, Softbench } from "./softbench.js";

export interface Part {
  name: string;
  /** `bench`: generator, meter and loop, which a gateway does not have. */
  kind: "app" | "shared" | "bench";
  ns: number;
  /** That it was computed from. */
  samples: number;
}

export interface AppTimesResult {
  size: FrameSize;
  parts: Part[];
  /** The whole without the profiler, the fastest round. */
  wholeNs: number;
  /** What the profiler adds to that, in per cent. */
  overheadPercent: number;
  /** libIPSec_MB alone, encrypting and decrypting; it is in `crypto`. */
  cryptoNs: number;
  /** What the profiler saw, for a flame graph. */
  tree: FlameNode;
  lost: number;
  verified: boolean;
}

/** Which modules belong to which app, in the order in which packets meet them. The first that fits counts. */
export const PARTS: readonly { name: string; kind: Part["kind"]; modules: RegExp }[] = [
  { name: "ip-input", kind: "app", modules: /apps\/ip-input/ },
  {
    name: "protect",
    kind: "app",
    modules: /apps\/(protect|bindings|hold-queue)|ipsec\/(spd|polic|selectors)/,
  },
  {
    name: "encapsulate",
    kind: "app",
    modules: /ipsec\/.*(encapsulate|outer|tunnel-header|sequence|sa-usage)/,
  },
  { name: "classify", kind: "app", modules: /apps\/classify/ },
  { name: "decapsulate", kind: "app", modules: /ipsec\/(?!aead).*/ },
  { name: "route", kind: "app", modules: /apps\/(route|sa-domains)|net\/lpm|apps\/fib/ },
  { name: "transmit", kind: "app", modules: /apps\// },
  { name: "crypto", kind: "app", modules: /ipsec\/aead|native\// },
  { name: "links, frames", kind: "shared", modules: /engine\/|memory\/|ports\// },
  { name: "checksums", kind: "shared", modules: /net\// },
  { name: "the bench's", kind: "bench", modules: /^bench\// },
];

/** Index of the part that a module belongs to. */
export function partOf(module: string): number {
  // Decapsulation has a name of its own, which must not be taken for encapsulation.
  const path = module.replace("decapsulate", "decaps");
  return PARTS.findIndex(({ modules }) => modules.test(path));
}

const WARM_UP_ROUNDS = 90;
const ROUND = 10_000;

export class AppTimes {
  readonly #size: FrameSize;
  readonly #bench: Softbench;
  readonly #crypto: CryptoBench;
  readonly #profiler = new LineProfiler();

  constructor(size: FrameSize, cipher: Cipher) {
    this.#size = size;
    this.#bench = new Softbench(oneFlow(size, cipher));
    this.#crypto = new CryptoBench(size);
  }

  async measure(rounds: number): Promise<AppTimesResult> {
    const bench = this.#bench;
    // V8 notes all lines only in what it compiles while it knows of a profiler.
    for (let i = 0; i < WARM_UP_ROUNDS; i++) bench.send(ROUND);
    const whole: Round[] = [];
    const crypto: Round[] = [];
    for (let i = 0; i < rounds; i++) {
      whole.push(bench.round(ROUND));
      crypto.push(this.#crypto.send(ROUND));
    }
    await this.#profiler.start();
    const profiled: Round[] = [];
    for (let i = 0; i < 3 * rounds; i++) profiled.push(bench.round(ROUND));
    const profile = await this.#profiler.stop();
    const { lost, verified } = bench.round(1);
    const wholeNs = best(whole);
    return {
      size: this.#size,
      parts: divide(samplesByModule(profile), wholeNs),
      wholeNs,
      overheadPercent: 100 * (best(profiled) / wholeNs - 1),
      cryptoNs: best(crypto),
      tree: flameTree(profile, "breathe"),
      lost,
      verified,
    };
  }
}

/** Gives each part its share. */
function divide(samples: ReadonlyMap<string, number>, wholeNs: number): Part[] {
  const counts = PARTS.map(() => 0);
  let all = 0;
  for (const [module, count] of samples) {
    counts[partOf(module)] += count;
    all += count;
  }
  return PARTS.map(({ name, kind }, i) => ({
    name,
    kind,
    ns: (wholeNs * counts[i]) / all,
    samples: counts[i],
  }));
}
