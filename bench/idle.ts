// `bench idle`: what Vita costs while nothing happens, and how long a packet waits until a sleeping worker is awake.
//
// CPU time: a gateway with a tunnel in place is left alone. The kernel's own account of each process, in nanoseconds
// (/proc/PID/task/TID/schedstat), is read before and after.
//
// Wake-up: on an interface that Vita owns, the worker answers ping by itself. A program at the other end of the veth pair
// sends one echo request after another, far enough apart for the worker to fall asleep, and spins until the answer is
// there, so that nobody but the worker has to wake up. The same against a worker that never sleeps has everything but the
// wake-up; the difference of the medians is the wake-up. Both kinds take turns, and of each the round that was disturbed least
// counts. (The round trip alone is an upper bound.) A process that does nothing but poll(), read() and write() is measured in the
// same way: its wake-up is the machine's own.

import { join } from "node:path";
import { Command } from "commander";
import { run as command, sleep, until } from "../src/lab/command.js";
import { cpuShares, type NodeProcess } from "../src/lab/cpu.js";
import { type Lab, withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { Vita } from "../src/lab/vita.js";
import type { Probed } from "./idle-probe.js";
import { count } from "./rounds.js";
import { layTunnel } from "./tunnel-systems.js";

/** Milliseconds for the processes of a node to come to rest: the spare starts last, and V8 tidies up once. */
const SETTLE = 4000;
const PORT = "7777";

const round = (value: number) => Math.round(value * 1000) / 1000;

async function rest(seconds: number): Promise<Record<NodeProcess, number>> {
  return withLab("idle", async (lab) => {
    const { ends } = await layTunnel(lab, "vita");
    await sleep(SETTLE);
    const { supervisor, worker, spare } = await cpuShares(ends[0].namespace, seconds * 1000);
    return { supervisor: round(supervisor), worker: round(worker), spare: round(spare) };
  });
}

/** What answers: Vita, or a process that does nothing else. */
type Answerer = "vita" | "bare";
type Kind = "asleep" | "busy";

/** One gateway and a host, with two links: one that Vita owns, and one for the bare process. */
async function createHost(lab: Lab): Promise<{ gateway: string; host: string }> {
  const gateway = await lab.namespace("gateway");
  const host = await lab.namespace("host");
  await createLink(
    { namespace: gateway, device: "wan0" },
    { namespace: host, device: "to-vita", addresses: ["192.0.2.2/24"] },
  );
  await createLink(
    { namespace: gateway, device: "bare0", addresses: ["198.51.100.1/24"] },
    { namespace: host, device: "to-bare", addresses: ["198.51.100.2/24"] },
  );
  return { gateway, host };
}

const program = (name: string) => join(import.meta.dirname, `${name}.js`);

/** Round trips of so many requests, in microseconds. */
async function probe(host: string, ...args: string[]): Promise<readonly number[]> {
  const { stdout } = await command(process.execPath, [program("idle-probe"), ...args], { namespace: host });
  return (JSON.parse(stdout) as Probed).microseconds;
}

async function probeVita(
  lab: Lab,
  { gateway, host }: { gateway: string; host: string },
  kind: Kind,
  n: number,
) {
  const vita = await Vita.start(lab, gateway, {
    node: kind,
    "public-interface": [{ name: "wan0", mode: "owned", address: ["192.0.2.1/24"] }],
    "private-interface": [{ name: "vita0", driver: "tun" }],
    "busy-poll": kind === "busy",
  });
  await sleep(SETTLE / 4);
  const times = await probe(host, "icmp", "192.0.2.1", `${n}`);
  const worker = round((await cpuShares(gateway, 500)).worker);
  await vita.process.stop();
  return { times, worker };
}

async function probeBare(
  lab: Lab,
  { gateway, host }: { gateway: string; host: string },
  kind: Kind,
  n: number,
) {
  const echo = lab.start(process.execPath, [program("idle-echo"), "198.51.100.2", PORT, kind], {
    name: "idle-echo",
    namespace: gateway,
  });
  await until("the bare process", () => echo.tail().includes("ready"), 5000, 20);
  const times = await probe(host, "udp", "198.51.100.1", `${n}`, PORT);
  await echo.stop();
  return times;
}

interface RoundTrip {
  p50: number;
  p90: number;
  p99: number;
}

function quantiles(times: readonly number[]): RoundTrip {
  const sorted = [...times].sort((a, b) => a - b);
  const below = (part: number) =>
    round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN);
  return { p50: below(0.5), p90: below(0.9), p99: below(0.99) };
}

/** The round that was disturbed least: what else the machine does can only add to it. */
function best(rounds: readonly RoundTrip[]): RoundTrip {
  return rounds.reduce((a, b) => (b.p50 < a.p50 ? b : a));
}

async function wakeUp(rounds: number, probes: number) {
  return withLab("idle", async (lab) => {
    const namespaces = await createHost(lab);
    const trips: Record<Answerer, Record<Kind, RoundTrip[]>> = {
      vita: { asleep: [], busy: [] },
      bare: { asleep: [], busy: [] },
    };
    let busyPollWorker = 0;
    for (let i = 0; i < rounds; i++)
      for (const kind of ["asleep", "busy"] as const) {
        const { times, worker } = await probeVita(lab, namespaces, kind, probes);
        trips.vita[kind].push(quantiles(times));
        if (kind === "busy") busyPollWorker = worker;
        trips.bare[kind].push(quantiles(await probeBare(lab, namespaces, kind, probes)));
      }
    const result = (who: Answerer) => {
      const [asleep, busy] = [best(trips[who].asleep), best(trips[who].busy)];
      return { asleep, busy, wakeUpP50: round(asleep.p50 - busy.p50) };
    };
    return { busyPollWorker, vita: result("vita"), bare: result("bare") };
  });
}

interface Options {
  seconds: string;
  rounds: string;
  probes: string;
  json?: boolean;
}

export async function run(args: string[]): Promise<void> {
  const options = new Command("bench idle")
    .option("--seconds <number>", "seconds at rest", "10")
    .option("--rounds <number>", "turns of the sleeping and the busy worker", "3")
    .option("--probes <number>", "echo requests in each turn", "100")
    .option("--json", "print one JSON object")
    .parse(args, { from: "user" })
    .opts<Options>();
  const seconds = count(options.seconds, "seconds", 600);
  process.stderr.write("idle: at rest …\n");
  const shares = await rest(seconds);
  process.stderr.write("idle: waking up …\n");
  const rounds = count(options.rounds, "rounds", 100);
  const probes = count(options.probes, "probes", 100_000);
  const { busyPollWorker, ...microseconds } = await wakeUp(rounds, probes);
  const sum = round(shares.supervisor + shares.worker + shares.spare);
  const cpuPercent = { ...shares, sum, busyPollWorker };
  if (options.json) {
    console.log(JSON.stringify({ seconds, cpuPercent, rounds, probes, microseconds }));
    return;
  }
  const { vita, bare } = microseconds;
  console.log(`CPU time at rest, percent of one core over ${seconds} s, with a tunnel in place`);
  console.table({ "at rest": { ...shares, sum }, "--busy-poll": { worker: busyPollWorker } });
  console.log(`Round trips of single packets, microseconds: the best of ${rounds} rounds of ${probes}`);
  console.table({
    "Vita, asleep": vita.asleep,
    "Vita, --busy-poll": vita.busy,
    "bare process, asleep": bare.asleep,
    "bare process, spinning": bare.busy,
  });
  console.log(`Wake-up at p50: Vita ${vita.wakeUpP50} µs, bare process ${bare.wakeUpP50} µs`);
}
