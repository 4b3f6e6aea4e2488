// `bench ports`: what the kernel takes for a packet on its way from one port to another over a veth pair, sent and received,
// by driver. The drivers take turns in several rounds, of which the median counts.

import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { run as command } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { count, medianRound } from "./rounds.js";

const TO = "192.0.2.2";
const drivers = ["xdp native", "xdp generic", "packet"] as const;
export type Driver = (typeof drivers)[number];

/** What a round in a process of its own gives. */
export interface Looped {
  readonly nanoseconds: number;
  readonly packets: number;
}

interface Row {
  driver: Driver;
  size: number;
  nanoseconds: number;
  kpps: number;
  /** Against the first driver. */
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
    await createLink(
      { namespace, device: "x0" },
      { namespace, device: "x1", addresses: [`${TO}/24`] },
      { offloads: true },
    );
    const program = join(import.meta.dirname, "ports-loop.js");
    const rows: Row[] = [];
    for (const size of sizes) {
      const results = new Map<Driver, Looped[]>(drivers.map((driver) => [driver, []]));
      for (let round = 0; round < rounds; round++)
        for (const driver of drivers) {
          const args = [program, driver, String(size), String(milliseconds), TO];
          const { stdout } = await command(process.execPath, args, { namespace });
          results.get(driver)?.push(JSON.parse(stdout) as Looped);
        }
      const first = { nanoseconds: 0 };
      for (const [driver, looped] of results) {
        const { nanoseconds, packets } = medianRound(looped);
        const each = nanoseconds / packets;
        first.nanoseconds ||= each;
        rows.push({
          driver,
          size,
          nanoseconds: Math.round(each),
          kpps: Math.round(1e6 / each),
          ratio: Math.round((100 * first.nanoseconds) / each) / 100,
        });
      }
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
