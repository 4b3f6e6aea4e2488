// `bench idle`: what Vita costs while nothing happens, and how long a packet waits until a sleeping worker is awake.
//
// CPU time: a gateway with a tunnel in place is left alone. The kernel's own account of each process, in nanoseconds
// (/proc/PID/task/TID/schedstat), is read before and after.
//
// Wake-up: on an interface that Vita owns, the worker answers ping by itself. A program at the other end of the veth pair
// sends one echo request after another, far enough apart for the worker to fall asleep, and spins until the answer is
// there, so that nobody but the worker has to wake up. The same against a worker that never sleeps has everything but the
// wake-up; the difference of the medians is the wake-up. Both kinds take turns, and of each the round that was disturbed least
// counts. (The round trip alone is an upper bound.)

import { join } from "node:path";
import { Command } from "commander";
import { run as command, sleep } from "../src/lab/command.js";
import { cpuShares, type NodeProcess } from "../src/lab/cpu.js";
import { type Lab, withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { Vita } from "../src/lab/vita.js";
import type { Probed } from "./idle-probe.js";
import { count } from "./rounds.js";
import { layTunnel } from "./tunnel-systems.js";

/** Milliseconds for the processes of a node to come to rest: the spare starts last, and V8 tidies up once. */
const SETTLE = 4000;
const ADDRESS = "192.0.2.1";

const round = (value: number) => Math.round(value * 1000) / 1000;

async function rest(seconds: number): Promise<Record<NodeProcess, number>> {
  return withLab("idle", async (lab) => {
    const { ends } = await layTunnel(lab, "vita");
    await sleep(SETTLE);
    const { supervisor, worker, spare } = await cpuShares(ends[0].namespace, seconds * 1000);
    return { supervisor: round(supervisor), worker: round(worker), spare: round(spare) };
  });
}

/** One gateway that owns its public interface, and a host on the other end of the link. */
async function createHost(lab: Lab): Promise<{ gateway: string; host: string }> {
  const gateway = await lab.namespace("gateway");
  const host = await lab.namespace("host");
  await createLink({ namespace: gateway, device: "wan0" }, { namespace: host, device: "to-gateway" });
  await command("ip", ["-n", host, "address", "add", "192.0.2.2/24", "dev", "to-gateway"]);
  return { gateway, host };
}

async function probe(lab: Lab, namespaces: { gateway: string; host: string }, isBusy: boolean, n: number) {
  const { gateway, host } = namespaces;
  const node = isBusy ? "busy" : "asleep";
  const vita = await Vita.start(lab, gateway, {
    node,
    "public-interface": [{ name: "wan0", mode: "owned", address: [`${ADDRESS}/24`] }],
    "private-interface": [{ name: "vita0", driver: "tun" }],
    "busy-poll": isBusy,
  });
  await sleep(SETTLE / 4);
  const program = join(import.meta.dirname, "idle-probe.js");
  const { stdout } = await command(process.execPath, [program, ADDRESS, String(n)], { namespace: host });
  const worker = isBusy ? round((await cpuShares(gateway, 1000)).worker) : undefined;
  await vita.process.stop();
  return { times: (JSON.parse(stdout) as Probed).microseconds, worker };
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
    const trips = { asleep: [] as RoundTrip[], busy: [] as RoundTrip[] };
    let busyPollWorkerPercent = 0;
    for (let i = 0; i < rounds; i++)
      for (const kind of ["asleep", "busy"] as const) {
        const { times, worker } = await probe(lab, namespaces, kind === "busy", probes);
        trips[kind].push(quantiles(times));
        busyPollWorkerPercent = worker ?? busyPollWorkerPercent;
      }
    const [roundTripAsleep, roundTripBusyPoll] = [best(trips.asleep), best(trips.busy)];
    const wakeUpP50 = round(roundTripAsleep.p50 - roundTripBusyPoll.p50);
    return { roundTripAsleep, roundTripBusyPoll, wakeUpP50, busyPollWorkerPercent };
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
  const { busyPollWorkerPercent, ...microseconds } = await wakeUp(rounds, probes);
  const sum = round(shares.supervisor + shares.worker + shares.spare);
  const cpuPercent = { ...shares, sum, busyPollWorker: busyPollWorkerPercent };
  if (options.json) {
    console.log(JSON.stringify({ seconds, cpuPercent, rounds, probes, microseconds }));
    return;
  }
  console.log(`CPU time at rest, percent of one core over ${seconds} s, with a tunnel in place`);
  console.table({ "at rest": { ...shares, sum }, "--busy-poll": { worker: busyPollWorkerPercent } });
  console.log(
    `Round trip of single packets, answered by the worker, microseconds: the best of ${rounds} rounds of ${probes}`,
  );
  console.table({
    "worker asleep": microseconds.roundTripAsleep,
    "--busy-poll": microseconds.roundTripBusyPoll,
  });
  console.log(`Wake-up: ${microseconds.wakeUpP50} µs (difference of the medians)`);
}
