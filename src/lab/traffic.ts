// The traffic of real programs between two hosts of a lab, and what arrived of it: ping, iperf3 over TCP and UDP, and
// the counted flow.

import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { run, runJson, sleep, until } from "./command.js";
import { flowProgram, type ReceiverTotals, type SenderTotals } from "./flow.js";
import type { Lab } from "./lab.js";
import type { Child } from "./process.js";

export interface Counted {
  sent: number;
  received: number;
}

/**
 * Sends `count` echo requests, `interval` seconds apart, and waits a second for the answers. fping, because ping itself
 * waits for the last ones no longer than twice the time that the others took, and counts what comes later as lost.
 */
export async function ping(
  namespace: string,
  address: string,
  count: number,
  interval: number,
  size = 56,
): Promise<Counted> {
  const times = ["-c", String(count), "-p", String(interval * 1000), "-t", "1000", "-b", String(size)];
  const { stderr } = await run("fping", ["-q", ...times, address], { namespace, tolerate: true });
  const numbers = /xmt\/rcv\/%loss = (\d+)\/(\d+)\//.exec(stderr);
  if (!numbers) throw new Error(`fping ${address}: ${stderr.trim()}`);
  return { sent: Number(numbers[1]), received: Number(numbers[2]) };
}

/** The same from an address of its own, or a device, by ping: fping ends when its address goes away. */
export async function pingFrom(
  namespace: string,
  from: string,
  address: string,
  count: number,
  interval: number,
): Promise<Counted> {
  const times = ["-c", String(count), "-i", String(interval), "-W", "1"];
  const { stdout } = await run("ping", ["-n", "-q", ...times, "-I", from, address], {
    namespace,
    tolerate: true,
  });
  const numbers = /(\d+) packets transmitted, (\d+) received/.exec(stdout);
  if (!numbers) throw new Error(`ping ${address}: ${stdout.trim()}`);
  return { sent: Number(numbers[1]), received: Number(numbers[2]) };
}

/** One echo request; milliseconds until the answer came, undefined if none did within a second. */
export async function pingOnce(
  namespace: string,
  address: string,
  from?: string,
): Promise<number | undefined> {
  const source = from === undefined ? [] : ["-I", from];
  const { stdout } = await run("ping", ["-n", "-c", "1", "-W", "1", ...source, address], {
    namespace,
    tolerate: true,
  });
  const time = /time=([\d.]+) ms/.exec(stdout);
  return time ? Number(time[1]) : undefined;
}

/** Echo requests `interval` seconds apart; milliseconds until each answer came, of those that came within a second. */
export async function roundTrips(
  namespace: string,
  address: string,
  count: number,
  interval: number,
  from: string,
): Promise<number[]> {
  const args = ["-n", "-c", String(count), "-i", String(interval), "-W", "1", "-I", from, address];
  const { stdout } = await run("ping", args, { namespace, tolerate: true });
  return [...stdout.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1]));
}

export interface IperfSum {
  bits_per_second: number;
  bytes: number;
  seconds: number;
  packets?: number;
  /** Of UDP: numbers that the server missed below the highest one that it saw. */
  lost_packets?: number;
}

export interface IperfReport {
  error?: string;
  /** The client's streams, once there are any. */
  start?: { connected?: unknown[] };
  end: { sum_sent?: IperfSum; sum_received?: IperfSum };
}

/** An iperf3 server that stays; clients come one after the other. */
export async function startIperfServer(lab: Lab, namespace: string, name = "iperf3"): Promise<Child> {
  const server = lab.start("iperf3", ["-s", "--forceflush"], { name: `${name}-server`, namespace });
  await until(
    "iperf3's server",
    () => {
      server.assertRunning();
      return server.tail().includes("listening");
    },
    5000,
    20,
  );
  return server;
}

/**
 * Has the server not taken this client, because it was not done with the one before? It is busy then, or closes its socket
 * for a moment: who comes then is refused, or was let in a moment before and is thrown out. No stream was begun.
 */
export function isBetweenClients({ error, start }: IperfReport): boolean {
  return (
    error !== undefined &&
    start?.connected?.length === 0 &&
    /Connection refused|Connection reset|server is busy/.test(error)
  );
}

async function iperf(
  namespace: string,
  address: string,
  seconds: number,
  args: string[],
): Promise<IperfReport> {
  const attempt = () =>
    runJson<IperfReport>(
      "iperf3",
      ["-c", address, "-t", String(seconds), "-J", "--connect-timeout", "3000", ...args],
      { namespace, tolerate: true, timeout: (seconds + 15) * 1000 },
    );
  let report = await attempt();
  for (let i = 0; i < 15 && isBetweenClients(report); i++) {
    await sleep(200);
    report = await attempt();
  }
  if (report.error) throw new Error(`iperf3 ${args.join(" ")}: ${report.error}`);
  return report;
}

export interface TcpOptions {
  seconds: number;
  /** From the server to the client. */
  reverse?: boolean;
  /** The client's own address, where the route does not say it. */
  from?: string;
}

function bind(from: string | undefined): string[] {
  return from === undefined ? [] : ["-B", from];
}

/** TCP from the client's namespace to the server at `address`; bits a second that arrived. */
export async function tcp(namespace: string, address: string, options: TcpOptions): Promise<number> {
  const args = [...(options.reverse ? ["-R"] : []), ...bind(options.from)];
  const report = await iperf(namespace, address, options.seconds, args);
  return report.end.sum_received?.bits_per_second ?? 0;
}

export interface UdpOptions {
  /** Bits of payload a second. */
  bitsPerSecond: number;
  /** Bytes of payload. */
  size: number;
  seconds: number;
  from?: string;
  /**
   * A server that does not get the processor is no loss: it has as large a buffer as the kernel allows, and what it had not read
   * when the client was done, of which it knows nothing, is not counted as sent, unless that is a tenth of all.
   */
  isPatient?: boolean;
}

/** UDP to the server at `address`: datagrams sent, and received as the server counted them. */
export async function udp(namespace: string, address: string, options: UdpOptions): Promise<Counted> {
  const { bitsPerSecond, size, seconds, from, isPatient = false } = options;
  const args = ["-u", "-b", String(Math.round(bitsPerSecond)), "-l", String(size), ...bind(from)];
  if (isPatient) args.push("-w", String(largestBuffer()));
  const { end } = await iperf(namespace, address, seconds, args);
  const sent = end.sum_sent?.packets ?? 0;
  const received = Math.round((end.sum_received?.bytes ?? 0) / size);
  const counted = received + (end.sum_received?.lost_packets ?? 0);
  return { sent: isPatient && counted >= 0.9 * sent ? counted : sent, received };
}

/** Bytes that a socket's buffers may have, both of them. */
function largestBuffer(): number {
  const limits = ["rmem_max", "wmem_max"].map((name) => Number(readFileSync(`/proc/sys/net/core/${name}`)));
  return Math.min(...limits);
}

export type FlowTotals = SenderTotals & ReceiverTotals;

/** A counted flow from one host to the other. */
export class Flow {
  readonly #sender: Child;
  readonly #receiver: Child;
  readonly #senderOutput: string;
  readonly #receiverOutput: string;

  private constructor(sender: Child, receiver: Child, senderOutput: string, receiverOutput: string) {
    this.#sender = sender;
    this.#receiver = receiver;
    this.#senderOutput = senderOutput;
    this.#receiverOutput = receiverOutput;
  }

  /** Starts a flow of `rate` datagrams a second; returns when the first ones are on their way. */
  static async start(
    lab: Lab,
    options: { name: string; from: string; to: string; address: string; port: number; rate: number },
  ): Promise<Flow> {
    const { name, from, to, address, port, rate } = options;
    const start = (role: string, namespace: string, args: string[]): [Child, string] => {
      const output = lab.path(`${name}-${role}.json`);
      const argv = [flowProgram, role, address, String(port), ...args];
      return [lab.start(process.execPath, argv, { name: `${name}-${role}`, namespace, output }), output];
    };
    const started = async ([child, output]: [Child, string]) => {
      await until(
        child.name,
        () => {
          child.assertRunning();
          return lastLine(output) !== undefined;
        },
        10_000,
        20,
      );
    };
    const receiver = start("receive", to, []);
    await started(receiver);
    const sender = start("send", from, [String(rate)]);
    await started(sender);
    return new Flow(sender[0], receiver[0], sender[1], receiver[1]);
  }

  /** Totals so far, at most a tenth of a second old. */
  totals(): FlowTotals {
    const sender = lastLine<SenderTotals>(this.#senderOutput) ?? { sent: 0, refused: 0 };
    const receiver = lastLine<ReceiverTotals>(this.#receiverOutput);
    return { ...sender, ...(receiver ?? { received: 0, duplicates: 0, damaged: 0, late: 0, missing: 0 }) };
  }

  /**
   * Ends the flow, waits half a second for what is still on its way, or less when nothing is, and returns the exact totals.
   */
  async stop(): Promise<FlowTotals> {
    await this.#sender.stop();
    // What comes twice has a moment in any case.
    const end = performance.now() + 500;
    do await sleep(100);
    while (performance.now() < end && this.totals().received < this.totals().sent);
    await this.#receiver.stop();
    return this.totals();
  }
}

/** The last whole line of a file of JSON lines; the file may be long. */
function lastLine<T>(file: string): T | undefined {
  let content: string;
  try {
    const descriptor = openSync(file, "r");
    try {
      const end = Buffer.alloc(1024);
      const from = Math.max(0, fstatSync(descriptor).size - end.length);
      content = end.toString("utf8", 0, readSync(descriptor, end, 0, end.length, from));
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return undefined;
  }
  const line = content.slice(0, content.lastIndexOf("\n")).split("\n").at(-1);
  return line ? (JSON.parse(line) as T) : undefined;
}

/** Datagrams that a host's kernel threw away because the receiving program was too slow. */
export async function receiveBufferErrors(namespace: string): Promise<number> {
  const { stdout } = await run("cat", ["/proc/net/snmp", "/proc/net/snmp6"], { namespace });
  const [names, values] = stdout.split("\n").filter((line) => line.startsWith("Udp:"));
  const at = (names ?? "").split(" ").indexOf("RcvbufErrors");
  const ipv4 = Number((values ?? "").split(" ")[at] ?? 0);
  const ipv6 = Number(/^Udp6RcvbufErrors\s+(\d+)/m.exec(stdout)?.[1] ?? 0);
  return ipv4 + ipv6;
}
