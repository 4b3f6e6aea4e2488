// `bench tunnel`: what programs get through a tunnel, between two namespaces. iperf3 with TCP both ways and with UDP of 64
// bytes of payload, and single pings. With UDP, the figure is the highest rate at which fewer than 1 % of the datagrams are
// lost, found by doubling and then halving the distance.
//
// All tunnels are there at the same time, and take turns: what else goes on in the machine meets them all alike. There are
// several rounds, after one that does not count, in which code is compiled and caches are filled.

import { availableParallelism, cpus } from "node:os";
import { Command, InvalidArgumentError } from "commander";
import { sleep } from "../src/lab/command.js";
import { type Lab, withLab } from "../src/lab/lab.js";
import { roundTrips, startIperfServer, tcp, udp } from "../src/lab/traffic.js";
import { writeChart } from "./chart.js";
import { compare, type Round, summarize, table, tunnelChart } from "./tunnel-result.js";
import { highestRate, judge } from "./tunnel-search.js";
import { layTunnel, systemNames, type Tunnel } from "./tunnel-systems.js";

const datagramSize = 64;
const probeSeconds = 1;
const pings = 400;
const pingInterval = 0.002;

async function gigabits(tunnel: Tunnel, seconds: number, reverse: boolean): Promise<number> {
  const attempt = () => tcp(tunnel.ends[0].namespace, tunnel.to, { seconds, reverse, from: tunnel.from });
  // iperf3's server may not be done with the last client yet, on a busy machine.
  return attempt().catch(() => sleep(1000).then(attempt));
}

async function udpProbe(tunnel: Tunnel, rate: number) {
  const options = {
    bitsPerSecond: rate * datagramSize * 8,
    size: datagramSize,
    seconds: probeSeconds,
    from: tunnel.from,
  };
  // Under a load that the tunnel cannot carry, iperf3's own control connection may break; once may be chance.
  const attempt = () => udp(tunnel.ends[0].namespace, tunnel.to, options);
  const again = () => sleep(1000).then(attempt);
  const { sent, received } = await attempt()
    .catch(again)
    .catch(() => ({ sent: 0, received: 0 }));
  return judge(rate, probeSeconds, sent, received);
}

/** Lets the calls of several parties through one at a time, in the order in which they come. */
function oneAtATime(): <T>(call: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (call) => {
    const next = last.then(call);
    last = next.catch(() => {});
    return next;
  };
}

/** A round: each measurement of one tunnel after the other. */
async function measure(tunnels: readonly Tunnel[], seconds: number): Promise<Round[]> {
  const turn = oneAtATime();
  const inTurn = <T>(what: (tunnel: Tunnel) => Promise<T>) =>
    Promise.all(tunnels.map((tunnel) => turn(() => what(tunnel))));
  const forward = await inTurn((tunnel) => gigabits(tunnel, seconds, false));
  const reverse = await inTurn((tunnel) => gigabits(tunnel, seconds, true));
  const trips = await inTurn(({ ends, to, from }) =>
    roundTrips(ends[0].namespace, to, pings, pingInterval, from),
  );
  // The searches go on side by side, and their probes take turns.
  const rates = await Promise.all(
    tunnels.map((tunnel) => highestRate((rate) => turn(() => udpProbe(tunnel, rate)))),
  );
  return tunnels.map((_, i) => ({
    tcp: forward[i] as number,
    tcpReverse: reverse[i] as number,
    roundTrips: trips[i] as number[],
    udp: rates[i] as number,
  }));
}

/** Lays the tunnels, each in a lab of its own, and keeps them while `use` runs. */
async function withTunnels<T>(
  systems: readonly string[],
  use: (tunnels: Tunnel[]) => Promise<T>,
): Promise<T> {
  const lay = async (laid: Tunnel[]): Promise<T> => {
    const system = systems[laid.length];
    if (system === undefined) return use(laid);
    return withLab("tunnel", async (lab: Lab) => {
      if (laid.length === 0 && lab.prefix !== "vita-tunnel")
        process.stderr.write(
          "tunnel: another tunnel benchmark is running, and takes its part of the machine\n",
        );
      process.stderr.write(`tunnel: ${system} …\n`);
      const tunnel = await layTunnel(lab, system);
      await startIperfServer(lab, tunnel.ends[1].namespace);
      return lay([...laid, tunnel]);
    });
  };
  return lay([]);
}

function systemList(text: string): string[] {
  const names = [...new Set(text.split(",").filter(Boolean))];
  const unknown = names.filter((name) => !systemNames.includes(name));
  if (unknown.length > 0) {
    throw new InvalidArgumentError(
      `no system "${unknown.join('", "')}"; there are ${systemNames.join(", ")}.`,
    );
  }
  return names;
}

function wholeNumber(most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1 || value > most)
      throw new InvalidArgumentError(`1 to ${most}, please.`);
    return value;
  };
}

interface Options {
  peers: string[];
  seconds: number;
  rounds: number;
  json?: boolean;
  svg?: string;
}

export async function run(args: string[]): Promise<void> {
  const { peers, seconds, rounds, json, svg } = new Command("bench tunnel")
    .option("--peers <systems>", `comma-separated: ${systemNames.join(", ")}`, systemList, [
      "vita",
      "vita-udp",
      "libipsec",
      "wireguard-go",
    ])
    .option("--seconds <number>", "seconds of TCP each way in a round", wholeNumber(600), 3)
    .option("--rounds <number>", "rounds, of which the median counts", wholeNumber(100), 5)
    .option("--svg <file>", "write a bar chart")
    .option("--json", "print a JSON array, one row a system")
    .parse(args, { from: "user" })
    .opts<Options>();
  const rows = await withTunnels(peers, async (tunnels) => {
    for (const tunnel of tunnels) {
      await gigabits(tunnel, 2, false);
      await gigabits(tunnel, 2, true);
      for (const rate of [10_000, 30_000, 30_000]) await udpProbe(tunnel, rate);
    }
    const all: Round[][] = [];
    for (let i = 1; i <= rounds; i++) {
      process.stderr.write(`tunnel: round ${i} of ${rounds} …\n`);
      all.push(await measure(tunnels, seconds));
    }
    return compare(
      tunnels.map(({ cipher }, i) =>
        summarize(
          peers[i] as string,
          cipher,
          all.map((measured) => measured[i] as Round),
        ),
      ),
    );
  });
  if (svg !== undefined) {
    const what = `median of ${rounds} rounds in turns; both ends and iperf3 share ${availableParallelism()} cores`;
    writeChart(svg, tunnelChart(rows, `${cpus()[0]?.model.trim() ?? "unknown processor"}: ${what}`));
  }
  process.stdout.write(json ? `${JSON.stringify(rows)}\n` : table(rows));
}
