// Counters of one worker in shared memory: an array of 64-bit floats and a table of their names. The worker writes,
// anybody reads. A worker that starts again finds its names and goes on counting where the one before it stopped.

import { bytes, f64, struct, u32 } from "../memory/layout.js";
import { openSharedRegion, populateNew, type Region } from "../memory/region.js";
import type { Counters, CounterTexts } from "./app.js";

const MAGIC = 0x43544956; // "VITC"
const VERSION = 1;
const CAPACITY = 1024;
const NAME_BYTES = 64;

export const countersFile = struct(
  "counters file",
  "One file a worker. Names and values go together by index.",
  {
    magic: u32('"VITC"'),
    version: u32(`layout version, ${VERSION}`),
    count: u32("counters in use"),
    values: f64("the counters; whole numbers, exact up to 2^53", CAPACITY),
    names: bytes(
      CAPACITY * NAME_BYTES,
      `\`app.counter\` in ASCII, ${NAME_BYTES} bytes each, padded with zeros`,
      64,
    ),
  },
);

const at = countersFile.at;

export class CounterFile {
  readonly #region: Region;
  readonly #index = new Map<string, number>();

  private constructor(region: Region, path: string) {
    this.#region = region;
    if (region.size < countersFile.size || region.words[0] !== MAGIC || region.words[1] !== VERSION)
      throw new Error(`${path} is not a counters file of layout version ${VERSION}`);
    this.#refresh();
  }

  /** @throws when the file exists */
  static create(path: string): CounterFile {
    const region = openSharedRegion(path, "create", countersFile.size);
    populateNew(region, path, countersFile.size);
    region.words[at.magic >>> 2] = MAGIC;
    region.words[at.version >>> 2] = VERSION;
    return new CounterFile(region, path);
  }

  static open(path: string, mode: "write" | "read"): CounterFile {
    return new CounterFile(openSharedRegion(path, mode), path);
  }

  #refresh(): void {
    const count = this.#region.words[at.count >>> 2];
    for (let i = this.#index.size; i < count; i++) {
      const start = at.names + i * NAME_BYTES;
      const raw = this.#region.bytes.subarray(start, start + NAME_BYTES);
      const end = raw.indexOf(0);
      this.#index.set(Buffer.from(raw.subarray(0, end < 0 ? NAME_BYTES : end)).toString("latin1"), i);
    }
  }

  #values(first: number, count: number): Counters {
    return new Float64Array(this.#region.view.buffer as ArrayBuffer, at.values + 8 * first, count);
  }

  /** The counters of one app, in the order of `texts`: those of an earlier life, or new ones at the end. */
  allocate(app: string, texts: CounterTexts): Counters {
    const names = Object.keys(texts).map((name) => `${app}.${name}`);
    if (names.length === 0) return new Float64Array(0);
    const known = this.#index.get(names[0]);
    if (known !== undefined && names.every((name, i) => this.#index.get(name) === known + i))
      return this.#values(known, names.length);
    const first = this.#region.words[at.count >>> 2];
    if (first + names.length > CAPACITY)
      throw new Error(`no room for the counters of ${app}: ${CAPACITY} are in use`);
    names.forEach((name, i) => {
      const text = Buffer.from(name, "latin1");
      if (text.length > NAME_BYTES)
        throw new Error(`counter name ${name} is longer than ${NAME_BYTES} bytes`);
      this.#region.bytes.fill(
        0,
        at.names + (first + i) * NAME_BYTES,
        at.names + (first + i + 1) * NAME_BYTES,
      );
      this.#region.bytes.set(text, at.names + (first + i) * NAME_BYTES);
      this.#index.set(name, first + i);
    });
    Atomics.store(this.#region.words, at.count >>> 2, first + names.length);
    return this.#values(first, names.length);
  }

  /** All counters by name, as they are now. */
  read(): Map<string, number> {
    this.#refresh();
    const values = this.#values(0, CAPACITY);
    return new Map([...this.#index].map(([name, i]) => [name, values[i]]));
  }

  close(): void {
    this.#region.unmap();
  }
}
