// What each app of softbench's graph takes for a packet. In each breath one app is timed, in the next one the next: two
// looks at the clock a breath of 128 packets, which are not felt (`bench -- apps` prints by how much). A breath is a
// sample; of an app's samples the lower decile counts: what interrupts and neighbours add is not in it, and from process to
// process it differs by one or two per cent, on a busy machine as well.

import type { App } from "../src/engine/app.js";
import { BATCH } from "../src/engine/engine.js";
import type { Cipher } from "./ciphers.js";
import { CryptoBench } from "./crypto.js";
import { ReferenceLoop } from "./reference-loop.js";
import { best, type Round } from "./rounds.js";
import type { FrameSize } from "./sizes.js";
import { Softbench, TRAIN } from "./softbench.js";

export interface Stage {
  name: string;
  /** `port`: the benchmark's own generator, meter and loop, which a gateway does not have. */
  kind: "app" | "port";
  ns: number;
}

export interface AppTimesResult {
  size: FrameSize;
  stages: Stage[];
  /** The whole breath without looks at the clock, the fastest round. */
  wholeNs: number;
  /** What the looks at the clock add to that, in per cent: the median over all rounds. */
  overheadPercent: number;
  /** libIPSec_MB alone, encrypting and decrypting. */
  cryptoNs: number;
  /** A loop in TypeScript that no change of Vita changes: see there. */
  referenceNs: number;
  lost: number;
  verified: boolean;
}

/** What one look at the clock costs is in every sample once. */
function stampCost(): number {
  const samples = new Float64Array(4096);
  for (let i = 0; i < 50 * samples.length; i++) {
    const begin = performance.now();
    samples[i & (samples.length - 1)] = performance.now() - begin;
  }
  return decile(samples);
}

export function decile(samples: Float64Array): number {
  if (samples.length === 0) throw new Error("nothing was timed: too few packets a round");
  return samples.slice().sort()[Math.floor(samples.length / 10)];
}

const SAMPLES = 4096;
const WARM_UP = 400_000;
const ROUND = 30_000;

/** Milliseconds of one stage. */
class Samples {
  private readonly values = new Float64Array(SAMPLES);
  private next = 0;
  private full = false;

  add(value: number): void {
    this.values[this.next] = value;
    this.next = (this.next + 1) & (SAMPLES - 1);
    if (this.next === 0) this.full = true;
  }

  get decile(): number {
    return decile(this.full ? this.values : this.values.subarray(0, this.next));
  }

  clear(): void {
    this.next = 0;
    this.full = false;
  }
}

/** Draws breaths as the engine does, and times one of its apps in each. */
class TimedEngine {
  readonly names: string[];
  readonly kinds: Stage["kind"][];
  readonly samples: Samples[];
  private readonly sources;
  private readonly apps: App[];
  private turn = 0;

  constructor({ graph }: Softbench, alter: (name: string, app: App) => App) {
    const ports = new Set(graph.ports.map(({ name }) => name));
    this.sources = graph.ports.map(({ source }) => source);
    this.apps = graph.apps.map(({ name, app }) => alter(name, app));
    this.names = [
      ...graph.ports.map(({ name }) => `${name} rx`),
      ...graph.apps.map(({ name }) => (ports.has(name) ? `${name} tx` : name)),
    ];
    this.kinds = this.names.map((_, i) =>
      i < this.sources.length || ports.has(graph.apps[i - this.sources.length].name) ? "port" : "app",
    );
    this.samples = this.names.map(() => new Samples());
  }

  breathe(): number {
    const { sources, apps, turn } = this;
    let moved = 0;
    let begin = 0;
    let end = 0;
    for (let i = 0; i < sources.length; i++) {
      if (i === turn) {
        begin = performance.now();
        moved += sources[i].pull(BATCH);
        end = performance.now();
      } else moved += sources[i].pull(BATCH);
    }
    const timed = turn - sources.length;
    for (let i = 0; i < apps.length; i++) {
      if (i === timed) {
        begin = performance.now();
        apps[i].push();
        end = performance.now();
      } else apps[i].push();
    }
    // The first and the last breath of a round are not full.
    if (moved === sources.length * BATCH) this.samples[turn].add(end - begin);
    this.turn = turn + 1 === this.names.length ? 0 : turn + 1;
    return moved;
  }
}

export class AppTimes {
  readonly #size: FrameSize;
  readonly #bench: Softbench;
  readonly #crypto: CryptoBench;
  readonly #reference = new ReferenceLoop();
  readonly #engine: TimedEngine;
  readonly #stamp = stampCost();

  /** @param alter what takes an app's place; for the test that shows that a slow one is found */
  constructor(size: FrameSize, cipher: Cipher, alter: (name: string, app: App) => App = (_, app) => app) {
    this.#size = size;
    this.#bench = new Softbench({ size, cipher, packets: 1, routes: 1, sas: 1, train: TRAIN });
    this.#crypto = new CryptoBench(size);
    this.#engine = new TimedEngine(this.#bench, alter);
    this.#bench.send(WARM_UP);
    this.#bench.send(WARM_UP, this.#engine);
    this.#crypto.warmUp();
    this.#reference.run(WARM_UP);
  }

  /** The whole, the apps, crypto and the reference take turns in so many rounds. */
  measure(rounds: number): AppTimesResult {
    const bench = this.#bench;
    const whole: Round[] = [];
    const timed: Round[] = [];
    const crypto: Round[] = [];
    const reference: Round[] = [];
    for (const samples of this.#engine.samples) samples.clear();
    for (let i = 0; i < rounds; i++) {
      whole.push(bench.round(ROUND));
      timed.push({ packets: ROUND, nanoseconds: bench.send(ROUND, this.#engine) });
      for (let part = 0; part < 10; part++) {
        crypto.push(this.#crypto.send(1000));
        reference.push(this.#reference.run(1000));
      }
    }
    const { lost, verified } = bench.round(BATCH);
    const { names, kinds, samples } = this.#engine;
    return {
      size: this.#size,
      stages: names.map((name, i) => ({
        name,
        kind: kinds[i],
        ns: Math.max(0, ((samples[i].decile - this.#stamp) * 1e6) / BATCH),
      })),
      wholeNs: best(whole),
      overheadPercent: overhead(whole, timed),
      cryptoNs: lowerDecile(crypto),
      referenceNs: lowerDecile(reference),
      lost,
      verified,
    };
  }
}

function lowerDecile(rounds: readonly Round[]): number {
  return decile(Float64Array.from(rounds, ({ packets, nanoseconds }) => nanoseconds / packets));
}

function overhead(whole: readonly Round[], timed: readonly Round[]): number {
  const ratios = whole.map(
    (round, i) => timed[i].nanoseconds / timed[i].packets / (round.nanoseconds / round.packets),
  );
  return 100 * (ratios.sort((a, b) => a - b)[ratios.length >>> 1] - 1);
}
