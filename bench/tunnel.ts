// `bench tunnel`: what programs get through a tunnel. iperf3 with TCP both ways and with UDP of 64 bytes of payload
// between two namespaces, for one system after the other on the same machine, in one run. With UDP, the figure is the
// highest rate at which fewer than 1 % of the datagrams are lost, found by doubling and then halving the distance.

import { Command, InvalidArgumentError } from "commander";
import { sleep } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { startIperfServer, tcp, udp } from "../src/lab/traffic.js";
import { layTunnel, systemNames, type Tunnel } from "./tunnel-systems.js";

interface Row {
  system: string;
  tcpGbps: number;
  tcpReverseGbps: number;
  udp64Kpps: number;
  cipher: string;
}

const datagramSize = 64;
const allowedLoss = 0.01;
const firstRate = 4000;
/** Halvings after the doubling: the result is within 1/16 of what the search found passable. */
const halvings = 4;
const probeSeconds = 1;

interface Probe {
  passes: boolean;
  /** Datagrams a second that arrived. */
  arrived: number;
  /** The sender itself could not keep up with the rate asked for. */
  saturated: boolean;
}

/**
 * The highest number of datagrams a second that arrives with less than the allowed loss. `probe` tries one rate. The
 * search ends: each doubling asks for more than a sender can give at some point.
 */
export async function highestRate(probe: (rate: number) => Promise<Probe>): Promise<number> {
  let best = 0;
  let low = 0;
  let high = firstRate;
  for (; high <= 1 << 24; high *= 2) {
    const { passes, arrived, saturated } = await probe(high);
    if (!passes) break;
    best = Math.max(best, arrived);
    low = high;
    if (saturated) return best;
  }
  for (let i = 0; i < halvings; i++) {
    const rate = (low + high) / 2;
    const { passes, arrived } = await probe(rate);
    if (passes) {
      best = Math.max(best, arrived);
      low = rate;
    } else {
      high = rate;
    }
  }
  return best;
}

async function udpKpps(tunnel: Tunnel): Promise<number> {
  const { namespace } = tunnel.ends[0];
  const rate = await highestRate(async (rate) => {
    const options = {
      bitsPerSecond: rate * datagramSize * 8,
      size: datagramSize,
      seconds: probeSeconds,
      from: tunnel.from,
    };
    // Under a load that the tunnel cannot carry, iperf3's own control connection may break; once may be chance.
    const attempt = () => udp(namespace, tunnel.to, options);
    const again = () => sleep(1000).then(attempt);
    const { sent, received } = await attempt()
      .catch(again)
      .catch(() => ({ sent: 0, received: 0 }));
    return {
      passes: sent > 0 && sent - received < allowedLoss * sent,
      arrived: received / probeSeconds,
      saturated: sent < 0.8 * rate * probeSeconds,
    };
  });
  return rate / 1000;
}

async function measure(system: string, seconds: number): Promise<Row> {
  return withLab("tunnel", async (lab) => {
    if (lab.prefix !== "vita-tunnel") {
      process.stderr.write(
        "tunnel: another tunnel benchmark is running, and takes its part of the machine\n",
      );
    }
    const tunnel = await layTunnel(lab, system);
    const { namespace } = tunnel.ends[0];
    await startIperfServer(lab, tunnel.ends[1].namespace);
    const gigabits = async (reverse: boolean) =>
      (await tcp(namespace, tunnel.to, { seconds, reverse, from: tunnel.from })) / 1e9;
    const tcpGbps = await gigabits(false);
    const tcpReverseGbps = await gigabits(true);
    const round = (value: number) => Math.round(value * 1000) / 1000;
    return {
      system,
      tcpGbps: round(tcpGbps),
      tcpReverseGbps: round(tcpReverseGbps),
      udp64Kpps: round(await udpKpps(tunnel)),
      cipher: tunnel.cipher,
    };
  });
}

function systemList(text: string): string[] {
  const names = text.split(",").filter(Boolean);
  const unknown = names.filter((name) => !systemNames.includes(name));
  if (unknown.length > 0) {
    throw new InvalidArgumentError(
      `no system "${unknown.join('", "')}"; there are ${systemNames.join(", ")}.`,
    );
  }
  return names;
}

function wholeSeconds(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 600)
    throw new InvalidArgumentError("1 to 600, please.");
  return value;
}

interface Options {
  peers: string[];
  seconds: number;
  json?: boolean;
}

export async function run(args: string[]): Promise<void> {
  const { peers, seconds, json } = new Command("bench tunnel")
    .option("--peers <systems>", `comma-separated: ${systemNames.join(", ")}`, systemList, [
      "vita",
      "libipsec",
      "wireguard-go",
    ])
    .option("--seconds <number>", "seconds of TCP each way", wholeSeconds, 5)
    .option("--json", "print a JSON array, one row a system")
    .parse(args, { from: "user" })
    .opts<Options>();
  const rows: Row[] = [];
  for (const system of peers) {
    process.stderr.write(`tunnel: ${system} …\n`);
    rows.push(await measure(system, seconds));
  }
  if (json) console.log(JSON.stringify(rows));
  else console.table(rows);
}
