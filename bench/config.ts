// config: how long does it take to give a running node thousands of routes and connections, and one more? A node in a
// namespace, with a charon of its own, is given its configuration by requests over its UNIX socket. A request is answered when
// the configuration is checked, carried out and in the startup file.
//
// How much of it is checking, a request tells that only tries (`vita-dry-run`). What else there is, the processes' CPU time
// tells: supervisor and charon work at the same time. Of several rounds the fastest counts: what else the machine does only
// ever adds.

import { readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Charon } from "../src/lab/charon.js";
import { until } from "../src/lab/command.js";
import { cpuTime } from "../src/lab/cpu.js";
import { type Lab, withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { Vita, type VitaConfiguration } from "../src/lab/vita.js";
import { connection, entries, type Kind, route } from "./config-entries.js";
import { count } from "./rounds.js";

export interface ConfigRow {
  name: string;
  /** Milliseconds from the request to its answer, in the fastest round, and what was asked for. */
  milliseconds: number;
  asked?: number;
  holds?: boolean;
  /** Milliseconds that the request takes when it is only tried. */
  check: number;
  /** Milliseconds of CPU time. */
  supervisor: number;
  charon: number;
}

export interface ConfigResult {
  bench: "config";
  node: string;
  /** Of each kind. */
  entries: number;
  rounds: number;
  rows: ConfigRow[];
  /** Resident bytes of the supervisor: when it has started, and with all entries. */
  memory: { empty: number; loaded: number };
  /** Milliseconds from the start of `vita run` until packets are forwarded. */
  start: { empty: number; loaded: number };
  holds: boolean;
}

/** Milliseconds (issue 5 of the project). */
const ASKED_ALL = 2000;
const ASKED_ONE = 100;

interface Change {
  method: "PUT" | "POST" | "DELETE";
  path: string;
  document?: object;
}

const DATA = "/restconf/data";
const whole = (configuration: object): Change => ({
  method: "PUT",
  path: DATA,
  document: { "ietf-restconf:data": prefixed(configuration) },
});
const add = (list: string, entry: object): Change => ({
  method: "POST",
  path: DATA,
  document: { [`vita-gateway:${list}`]: [entry] },
});
const remove = (list: string, id: string): Change => ({
  method: "DELETE",
  path: `${DATA}/vita-gateway:${list}=${id}`,
});

function prefixed(configuration: object): object {
  return Object.fromEntries(
    Object.entries(configuration).map(([name, value]) => [`vita-gateway:${name}`, value]),
  );
}

/** @throws Error with the node's words when it refuses */
function send(socketPath: string, method: string, path: string, body = ""): Promise<void> {
  const headers = { "content-type": "application/yang-data+json", "content-length": Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.once("error", reject);
      response.once("end", () => {
        const { statusCode = 0 } = response;
        if (statusCode >= 200 && statusCode < 300) resolve();
        else reject(new Error(`${method} ${path}: ${statusCode} ${text}`));
      });
    });
    asked.once("error", reject);
    asked.end(body);
  });
}

interface Node {
  vita: Vita;
  charon: Charon;
  socket: string;
}

type Measured = Pick<ConfigRow, "milliseconds" | "check" | "supervisor" | "charon">;

/** Tries a change, and has it carried out. */
async function measure(
  { vita, charon, socket }: Node,
  { method, path, document }: Change,
): Promise<Measured> {
  const body = document === undefined ? "" : JSON.stringify(document);
  const time = async (query: string) => {
    const begun = performance.now();
    await send(socket, method, path + query, body);
    return performance.now() - begun;
  };
  const check = await time("?vita-dry-run");
  const cpu = () => [vita.process.pid, charon.process.pid].map((pid) => cpuTime(pid) / 1e6);
  const before = cpu();
  const milliseconds = await time("");
  const [supervisor, ofCharon] = cpu().map((after, i) => after - before[i]);
  return { milliseconds, check, supervisor, charon: ofCharon };
}

interface Step {
  name: string;
  asked?: number;
  change: Change;
  /** Only leads to the next one. */
  quiet?: boolean;
}

/** What is measured at the size that memory and start are measured at, too. */
const ALL = "the same and 2 SAs a route";

/** One entry more and less of each kind. */
function single(number: number, asked?: number): Step[] {
  const limit = asked === undefined ? {} : { asked };
  return [
    { name: "  one more route", ...limit, change: add("route", route(number)) },
    { name: "  one more connection", ...limit, change: add("connection", connection(number)) },
    { name: "  one route less", ...limit, change: remove("route", `route-${number}`) },
    { name: "  one connection less", ...limit, change: remove("connection", `connection-${number}`) },
  ];
}

function steps(minimal: VitaConfiguration, number: number): Step[] {
  const n = number.toLocaleString("en");
  const all = (kinds: Kind[]) => whole({ ...minimal, ...entries(kinds, number) });
  const back = { name: "back", change: whole(minimal), quiet: true };
  return [
    { name: `${n} routes`, change: all(["routes"]) },
    back,
    { name: `${n} routes with 2 SAs each`, change: all(["routes", "SAs"]) },
    back,
    { name: `${n} connections`, change: all(["connections"]) },
    back,
    { name: `${n} routes and connections`, asked: ASKED_ALL, change: all(["routes", "connections"]) },
    ...single(number, ASKED_ONE),
    back,
    { name: ALL, change: all(["routes", "SAs", "connections"]) },
    ...single(number),
    { name: "all removed", change: whole(minimal) },
  ];
}

const fastest = (rounds: readonly Measured[]) =>
  rounds.reduce((a, b) => (b.milliseconds < a.milliseconds ? b : a));

function resident(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return 1024 * Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1]);
}

const apiSocket = (lab: Lab) => join(Vita.runDirectory(lab), "config", "api.sock");

async function startVita(lab: Lab, namespace: string, configuration: VitaConfiguration, name: string) {
  const begun = performance.now();
  const vita = await Vita.start(lab, namespace, configuration, name);
  const milliseconds = performance.now() - begun;
  await until(
    "the API",
    () =>
      send(apiSocket(lab), "GET", `${DATA}/vita-gateway:node`).then(
        () => true,
        () => false,
      ),
    10_000,
  );
  return { vita, milliseconds };
}

/** How long a new run takes to begin, the fastest of some. */
async function measureStart(lab: Lab, namespace: string, configuration: VitaConfiguration, rounds: number) {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < rounds; i++) {
    const { vita, milliseconds } = await startVita(lab, namespace, configuration, "vita");
    best = Math.min(best, milliseconds);
    await vita.process.stop();
  }
  return best;
}

export async function measureConfig(number: number, rounds: number): Promise<ConfigResult> {
  return withLab("config", async (lab) => {
    const namespace = await lab.namespace("gateway");
    const far = await lab.namespace("far");
    for (const [device, address] of [
      ["wan0", "192.0.2.1/24"],
      ["lan0", "192.168.0.1/24"],
    ])
      await createLink({ namespace, device, addresses: [address] }, { namespace: far, device });
    const minimal: VitaConfiguration = {
      node: "config",
      "public-interface": [{ name: "wan0" }],
      "private-interface": [{ name: "lan0" }],
      charon: { vici: Charon.viciUri(lab, "gateway") },
    };
    const { vita } = await startVita(lab, namespace, minimal, "vita");
    const charon = await Charon.start(lab, {
      name: "gateway",
      namespace,
      system: "vita",
      vitaSocket: vita.charonSocket,
    });
    const node = { vita, charon, socket: apiSocket(lab) };
    const memory = { empty: resident(vita.process.pid), loaded: 0 };
    const plan = steps(minimal, number);
    const measured = plan.map((): Measured[] => []);
    for (let i = 0; i < rounds; i++) {
      for (const [j, { name, change, quiet }] of plan.entries()) {
        const it = await measure(node, change);
        measured[j].push(it);
        if (!quiet) process.stderr.write(`config: ${name}: ${it.milliseconds.toFixed(0)} ms\n`);
        if (name === ALL) memory.loaded = Math.max(memory.loaded, resident(vita.process.pid));
      }
    }
    await vita.process.stop();
    await charon.process.stop();
    const loaded = { ...minimal, ...entries(["routes", "SAs", "connections"], number) };
    const start = {
      empty: await measureStart(lab, namespace, minimal, rounds),
      loaded: await measureStart(lab, namespace, loaded, rounds),
    };
    const rows = plan.flatMap(({ name, asked, quiet }, j): ConfigRow[] => {
      if (quiet) return [];
      const best = fastest(measured[j]);
      return [{ name, ...best, ...(asked !== undefined && { asked, holds: best.milliseconds <= asked }) }];
    });
    return {
      bench: "config",
      node: process.versions.node,
      entries: number,
      rounds,
      rows,
      memory,
      start,
      holds: rows.every(({ holds }) => holds !== false),
    };
  });
}

function print({ rows, rounds, memory, start }: ConfigResult): void {
  const ms = (value: number) => (value < 10 ? value.toFixed(1) : value.toFixed(0));
  console.log(
    `${`milliseconds, fastest of ${rounds}`.padEnd(32)}  answered   tried   supervisor   charon   asked`,
  );
  for (const { name, milliseconds, check, supervisor, charon, asked, holds } of rows) {
    const cells = [milliseconds, check, supervisor, charon].map((value, i) =>
      ms(value).padStart([10, 8, 13, 9][i]),
    );
    const verdict = asked === undefined ? "" : `   ≤ ${asked} ${holds ? "holds" : "FAILS"}`;
    console.log(name.padEnd(32) + cells.join("") + verdict);
  }
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  console.log(
    `supervisor: ${mib(memory.empty)} resident when it has started, ${mib(memory.loaded)} with all of this`,
  );
  console.log(`start of vita run: ${ms(start.empty)} ms, with all of this ${ms(start.loaded)} ms`);
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      entries: { type: "string", default: "5000" },
      rounds: { type: "string", default: "3" },
      require: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const result = await measureConfig(
    count(values.entries, "entries", 20_000),
    count(values.rounds, "rounds", 100),
  );
  if (values.json) console.log(JSON.stringify(result));
  else print(result);
  if (values.require && !result.holds) process.exitCode = 1;
}
