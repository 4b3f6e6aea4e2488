// instructions: how many a packet takes, app by app and loop by loop. softbench runs in a process of its own, which is stepped
// through some breaths, instruction by instruction (stepper.ts); V8 tells from which line of which module it made each one
// (jit-dump.ts). What runs in V8's own functions, koffi and libc belongs to the module that called them; libIPSec_MB is a row of its
// own. Such counts are the same on any machine, busy or not, but for how V8 happens to compile a function this time.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { BATCH } from "../src/engine/engine.js";
import { V8_FLAGS } from "../src/gateway/v8-flags.js";
import { PARTS, type Part, partOf } from "./app-times.js";
import { sizeText } from "./compare.js";
import { Contender } from "./contender.js";
import { type Code, codeAt, jitDumpIn, lineAt, readJitDump } from "./jit-dump.js";
import type { LineHooksData } from "./line-hooks.js";
import { placeOfLine } from "./line-profile.js";
import { round3 } from "./rounds.js";
import { type FrameSize, parseSize } from "./sizes.js";
import { Stepper } from "./stepper.js";

export interface Instructions {
  size: FrameSize;
  /** Instructions a packet. */
  parts: { name: string; kind: Part["kind"]; instructions: number }[];
  /** What a gateway's apps take together: all parts but the bench's. */
  whole: number;
  /** Those of libIPSec_MB; undefined when it was run through. */
  library: number | undefined;
  /** By the function into which V8 compiled others; the largest first. */
  loops: { name: string; instructions: number }[];
}

/** Compiled beside the packets, code would be put in place sooner or later, depending on how busy the machine is. */
const FLAGS = [...V8_FLAGS, "--perf-prof", "--no-concurrent-recompilation", "--no-concurrent-osr"];
/** Breaths at full speed before the first one that is stepped through: the process may have stopped between two rounds. */
const FIRST_BREATHS = 8;
/** Calls of the library in a breath that encrypts and decrypts. A round's first breath does not yet, and its last no more. */
const LIBRARY_CALLS = 2;
/** A breath that is longer than this will not end. */
const LONGEST_BREATH = 2_000_000;
/** Milliseconds for what takes some microseconds on an idle machine. */
const PATIENCE = 10_000;
/** What a breath begins with: each of these is called once in it. */
const BEGINNING = /^JS:\*'?(\w+\.)?pull \S*\/bench\/loop-ports\.js:/;

interface Mapping {
  from: number;
  to: number;
}

function libraryOf(pid: number): Mapping {
  const line = /^(\w+)-(\w+) r-xp .*\/libIPSec_MB\S*$/m.exec(readFileSync(`/proc/${pid}/maps`, "utf8"));
  if (!line) throw new Error("libIPSec_MB is not mapped into the process that is stepped");
  return { from: Number.parseInt(line[1], 16), to: Number.parseInt(line[2], 16) };
}

/**
 * Steps through one breath.
 * @returns the addresses of its instructions, in order; undefined if it was not a whole one
 */
function stepBreath(
  stepper: Stepper,
  start: number,
  library: Mapping,
  throughLibrary: boolean,
): number[] | undefined {
  const addresses: number[] = [];
  let calls = 0;
  /** Where the call of the library that is going on returns to. */
  let back = 0;
  let address = start;
  do {
    if (address === back) back = 0;
    if (back === 0 && address >= library.from && address < library.to) {
      calls++;
      back = stepper.returnAddress;
      if (!throughLibrary) {
        if (!stepper.runTo(back, PATIENCE)) throw new Error("libIPSec_MB does not return");
        address = back;
        continue;
      }
    }
    if (addresses.push(address) > LONGEST_BREATH) throw new Error("a breath does not end");
    address = stepper.step();
  } while (address !== start);
  return calls < LIBRARY_CALLS ? undefined : addresses;
}

function stepBreaths(
  pid: number,
  codes: readonly Code[],
  library: Mapping,
  count: number,
  throughLibrary: boolean,
): number[][] {
  const starts = codes.filter(({ name }) => BEGINNING.test(name)).map(({ address }) => address);
  const stepper = Stepper.attach(pid);
  try {
    const start = starts.findLast((address) => stepper.runTo(address, PATIENCE));
    if (start === undefined)
      throw new Error("V8 has compiled softbench in another way: no breath's beginning is found");
    for (let i = 0; i < FIRST_BREATHS; i++) {
      stepper.step();
      if (!stepper.runTo(start, PATIENCE)) throw new Error("a breath does not end");
    }
    const breaths: number[][] = [];
    while (breaths.length < count) {
      const breath = stepBreath(stepper, start, library, throughLibrary);
      if (breath !== undefined) breaths.push(breath);
    }
    return breaths;
  } finally {
    stepper.detach();
  }
}

/** Says where instructions belong. */
class Places {
  readonly #codes: readonly Code[];
  readonly #library: Mapping;
  readonly #known = new Map<number, { part: number; loop: string } | "library" | undefined>();

  constructor(codes: readonly Code[], library: Mapping) {
    this.#codes = codes;
    this.#library = library;
  }

  /** @returns undefined for what belongs to its caller */
  of(address: number) {
    if (this.#known.has(address)) return this.#known.get(address);
    const place = this.#find(address);
    this.#known.set(address, place);
    return place;
  }

  #find(address: number) {
    if (address >= this.#library.from && address < this.#library.to) return "library";
    const code = codeAt(this.#codes, address);
    const module = code && placeOfLine(lineAt(code, address) ?? 0)?.module;
    if (code === undefined || module === undefined) return undefined;
    // "JS:*push file:///…/dist/src/apps/route.js:9001:21"
    const loop = code.name
      .replace(/^JS:\W*/, "")
      .replace(/ \S*\/dist\/(?:src\/)?(\S*)\.js:\d+:\d+$/, " ($1)");
    return { part: partOf(module), loop };
  }
}

interface Tally {
  parts: number[];
  library: number;
  loops: Map<string, number>;
}

function tally(addresses: readonly number[], places: Places): Tally {
  const result: Tally = { parts: PARTS.map(() => 0), library: 0, loops: new Map() };
  let part = PARTS.length - 1;
  let loop = "";
  for (const address of addresses) {
    const place = places.of(address);
    if (place === "library") {
      result.library++;
      continue;
    }
    if (place !== undefined) ({ part, loop } = place);
    result.parts[part]++;
    result.loops.set(loop, (result.loops.get(loop) ?? 0) + 1);
  }
  return result;
}

export interface CountOptions {
  /** Node's program; default: the one that runs. */
  program?: string;
  /** Text for some modules. */
  insertions?: LineHooksData["insertions"];
  /** How many are stepped through; of each row, what is least counts. Default: 1. */
  breaths?: number;
  /** Is the library stepped through as well? By default it is run through, which takes half the time. */
  throughLibrary?: boolean;
}

/**
 * Counts in a new process. It takes seconds in which this process does nothing else.
 * @throws when processes cannot be traced here
 */
export async function countInstructions(size: FrameSize, options: CountOptions = {}): Promise<Instructions> {
  const { program = process.execPath, insertions = [], breaths: count = 1, throughLibrary = false } = options;
  const directory = mkdtempSync(join(tmpdir(), "vita-instructions-"));
  let child: Contender<boolean> | undefined;
  try {
    child = await Contender.start<boolean>("instructions-child", [size, JSON.stringify(insertions)], {
      execPath: program,
      flags: FLAGS,
      cwd: directory,
    });
    const library = libraryOf(child.pid);
    const breaths = stepBreaths(child.pid, readJitDump(jitDumpIn(directory)), library, count, throughLibrary);
    // What was compiled last is told by now.
    if (!(await child.round(1))) throw new Error("softbench has lost packets");
    const places = new Places(readJitDump(jitDumpIn(directory)), library);
    return summarise(
      size,
      breaths.map((breath) => tally(breath, places)),
      throughLibrary,
    );
  } finally {
    child?.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

function summarise(size: FrameSize, tallies: readonly Tally[], throughLibrary: boolean): Instructions {
  const least = (count: (tally: Tally) => number) => round3(Math.min(...tallies.map(count)) / BATCH);
  const parts = PARTS.map(({ name, kind }, i) => ({ name, kind, instructions: least((t) => t.parts[i]) }));
  const own = PARTS.map(({ kind }) => kind !== "bench");
  const loops = [...tallies[0].loops.keys()].map((name) => ({
    name,
    instructions: least(({ loops }) => loops.get(name) ?? 0),
  }));
  return {
    size,
    parts,
    whole: least((t) => t.parts.reduce((sum, count, i) => (own[i] ? sum + count : sum), 0)),
    library: throughLibrary ? least(({ library }) => library) : undefined,
    loops: loops.sort((a, b) => b.instructions - a.instructions),
  };
}

/** Every eighth breath has a packet that is compared in full. */
const BREATHS = 3;
/** Loops of less than this, in instructions a packet, are not printed. */
const SMALL_LOOP = 2;

function print({ size, parts, whole, library, loops }: Instructions): void {
  const line = (name: string, count: number) =>
    console.log(`  ${name.padEnd(38)}${count.toFixed(1).padStart(7)}`);
  console.log(`${sizeText(size)}, instructions a packet`);
  for (const { name, kind, instructions } of parts) if (kind !== "bench") line(name, instructions);
  line("all together", whole);
  for (const { name, kind, instructions } of parts) if (kind === "bench") line(name, instructions);
  if (library !== undefined) line("libIPSec_MB", library);
  console.log("by the function into which V8 compiled the others");
  for (const { name, instructions } of loops) if (instructions >= SMALL_LOOP) line(name, instructions);
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      size: { type: "string", multiple: true },
      json: { type: "boolean", default: false },
    },
  });
  const sizes: Instructions[] = [];
  for (const size of values.size ?? ["60"])
    sizes.push(await countInstructions(parseSize(size), { breaths: BREATHS, throughLibrary: true }));
  if (values.json) console.log(JSON.stringify({ bench: "instructions", node: process.versions.node, sizes }));
  else sizes.forEach(print);
}
