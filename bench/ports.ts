// `bench ports`: what the kernel takes for a packet on its way from one port to another over a veth pair, sent and received,
// by driver. The drivers take turns in several rounds, of which the median counts. ESP in UDP is joined by the packet driver, ESP
// by none; what is joined crosses a link with offloads whole, and is cut by the kernel for one without.

import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { run as command } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { count, medianRound } from "./rounds.js";

/** Pairs x0 and x1, y0 and y1, and whether they have their offloads. */
const links = [
  ["x", true],
  ["y", false],
] as const;
const addressOf = (prefix: "x" | "y") => (prefix === "x" ? "192.0.2.2" : "203.0.113.2");
export type Driver = "xdp native" | "xdp generic" | "packet";
export type Packets = "ESP" | "ESP in UDP";

interface Kind {
  driver: Driver;
  packets: Packets;
  /** Does the veth pair have the offloads that the kernel gives it? */
  offloads: boolean;
}

const kinds: readonly Kind[] = [
  { driver: "xdp native", packets: "ESP", offloads: true },
  { driver: "xdp generic", packets: "ESP", offloads: true },
  { driver: "packet", packets: "ESP", offloads: true },
  { driver: "packet", packets: "ESP in UDP", offloads: false },
  { driver: "packet", packets: "ESP in UDP", offloads: true },
];

/** What a round in a process of its own gives. */
export interface Looped {
  readonly nanoseconds: number;
  readonly packets: number;
}

interface Row extends Kind {
  size: number;
  nanoseconds: number;
  kpps: number;
  /** Packets in the time in which the first driver has one. */
  ratio: number;
}

function sizeList(text: string): number[] {
  const sizes = text.split(",").map(Number);
  if (sizes.some((size) => !Number.isInteger(size) || size < 64 || size > 1514))
    throw new InvalidArgumentError("frames of 64 to 1514 bytes, please.");
  return sizes;
}

async function measure(sizes: number[], rounds: number, milliseconds: number): Promise<Row[]> {
  return withLab("ports", async (lab) => {
    const namespace = await lab.namespace("loop");
    for (const [prefix, offloads] of links)
      await createLink(
        { namespace, device: `${prefix}0` },
        { namespace, device: `${prefix}1`, addresses: [`${addressOf(prefix)}/24`] },
        { offloads },
      );
    const program = join(import.meta.dirname, "ports-loop.js");
    const rows: Row[] = [];
    for (const size of sizes) {
      const results = kinds.map((kind) => ({ ...kind, looped: [] as Looped[] }));
      for (let round = 0; round < rounds; round++)
        for (const { driver, packets, offloads, looped } of results) {
          const [prefix] = links.find(([, has]) => has === offloads) ?? links[0];
          const args = [program, driver, packets, `${size}`, `${milliseconds}`, prefix, addressOf(prefix)];
          const { stdout } = await command(process.execPath, args, { namespace });
          looped.push(JSON.parse(stdout) as Looped);
        }
      const each = results.map(({ looped }) => {
        const { nanoseconds, packets } = medianRound(looped);
        return nanoseconds / packets;
      });
      for (const [i, kind] of kinds.entries())
        rows.push({
          ...kind,
          size,
          nanoseconds: Math.round(each[i]),
          kpps: Math.round(1e6 / each[i]),
          ratio: Math.round((100 * each[0]) / each[i]) / 100,
        });
    }
    return rows;
  });
}

interface Options {
  size: number[];
  rounds: string;
  milliseconds: string;
  json?: boolean;
}

export async function run(args: string[]): Promise<void> {
  const { size, rounds, milliseconds, json } = new Command("bench ports")
    .option("--size <list>", "bytes of frame, comma-separated", sizeList, [126, 1478])
    .option("--rounds <number>", "rounds for each driver and size", "3")
    .option("--milliseconds <number>", "of each round", "500")
    .option("--json", "print a JSON array")
    .parse(args, { from: "user" })
    .opts<Options>();
  const rows = await measure(size, count(rounds, "rounds", 100), count(milliseconds, "milliseconds", 60_000));
  if (json) console.log(JSON.stringify(rows));
  else console.table(rows);
}
