// What a node is doing, read from its shared files. Anybody with the right to read them can ask, whether the supervisor
// runs or not. Keys are not part of it.

import type { Configuration } from "../config/configuration.js";
import { CounterFile } from "../engine/counters.js";
import { MODE_TRANSPORT } from "../ipsec/add-sa.js";
import type { Mark, PolicyRequest, Selector } from "../ipsec/kernel.js";
import { readEndPoints } from "../ipsec/outer-header.js";
import { saIdentity } from "../ipsec/sa-identity.js";
import { saTotals } from "../ipsec/sa-usage.js";
import { Sad } from "../ipsec/sad.js";
import { MAX_WORKERS, SaFlag, SaState, SELECTOR_SIZE, saSlot } from "../ipsec/sad-layout.js";
import { readSelector } from "../ipsec/selectors.js";
import { lastSequence } from "../ipsec/sequence.js";
import { Spd } from "../ipsec/spd.js";
import { proposalName } from "../ipsec/transforms.js";
import { formatAddress, formatPrefix, rangeToPrefixes } from "../net/address.js";
import { MonotonicClock } from "./clock.js";
import { readConfiguration } from "./run-configuration.js";
import { RunDirectory } from "./run-directory.js";
import { isWorker } from "./worker-process.js";

const at = saSlot.at;

export interface WorkerState {
  index: number;
  pid: number;
  alive: boolean;
}

export interface SaReport {
  spi: string;
  direction: "in" | "out";
  state: "larval" | "active" | "expired" | "dying";
  src: string;
  dst: string;
  reqid: number;
  mode: "tunnel" | "transport";
  /** `0x2a/0xffffffff`; null without one. Inbound, the mark may be that of the `in` policy. */
  mark: string | null;
  ifId: number;
  /** What set_mark_in and set_mark_out say. */
  setMark: string | null;
  algorithm: string;
  esn: boolean;
  udpEncapsulation: boolean;
  /** Inbound: packets. */
  replayWindow: number;
  srcSelectors: string[];
  dstSelectors: string[];
  packets: number;
  bytes: number;
  /** Outbound: the last one that was reserved. Inbound: the highest one seen. As text, because it has 64 bits. */
  sequence: string;
  /** Soft and hard limit; 0 for none. */
  limits: { seconds: [number, number]; bytes: [number, number]; packets: [number, number] };
  ageSeconds: number;
  idleSeconds: number | null;
}

export interface PolicyState {
  direction: "in" | "out" | "forward";
  type: "protect" | "pass" | "drop";
  class: "pass" | "default" | "trap" | "fallback";
  rank: number;
  src: string;
  dst: string;
  tunnelSrc: string;
  tunnelDst: string;
  mode: "tunnel" | "transport";
  mark: string | null;
  ifId: number;
  reqid: number;
  spi: string | null;
  /** `out`: does an SA stand behind it? */
  protected: boolean | null;
}

export interface NodeState {
  node: string;
  workers: WorkerState[];
  /** `app.counter` summed over the workers. */
  counters: Record<string, number>;
  sas: SaReport[];
  policies: PolicyState[];
}

/** @throws Error that says that the node does not run */
export function readState(node: string, base?: string): NodeState {
  const run = new RunDirectory(node, base);
  let configuration: Configuration;
  try {
    configuration = readConfiguration(run);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT")
      throw new Error(`node ${node} does not run (there is no ${run.path}); start it with vita run`);
    throw error;
  }
  const sad = Sad.open(run.shared("sad"), "read");
  const spd = Spd.open(run.shared("spd"), "read");
  try {
    return {
      node,
      workers: Array.from({ length: configuration.workers }, (_, index) => {
        const pid = sad.workerPid(index);
        return { index, pid, alive: pid !== 0 && isWorker(pid, node, index) };
      }),
      counters: readCounters(run),
      sas: readSas(sad),
      policies: readPolicies(spd),
    };
  } finally {
    sad.close();
    spd.close();
  }
}

/** Those of workers that the node has no more count as well: what they have counted has happened. */
function readCounters(run: RunDirectory): Record<string, number> {
  const sums: Record<string, number> = {};
  for (let i = 0; i < MAX_WORKERS; i++) {
    let file: CounterFile;
    try {
      file = CounterFile.open(run.shared(`counters-${i}`), "read");
    } catch {
      continue; // There has never been such a worker.
    }
    for (const [name, value] of file.read()) sums[name] = (sums[name] ?? 0) + value;
    file.close();
  }
  return Object.fromEntries(Object.entries(sums).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function readSas(sad: Sad): SaReport[] {
  const clock = new MonotonicClock();
  const sas: SaReport[] = [];
  for (let slot = 0; slot < sad.used; slot++) {
    const state = sad.state(slot);
    if (state === SaState.free || state === SaState.extension) continue;
    const base = sad.offset(slot);
    const word = (field: number) => sad.words[(base + field) >>> 2];
    const flags = word(at.flags);
    const inbound = (flags & SaFlag.inbound) !== 0;
    const udp = (flags & SaFlag.udpEncapsulation) !== 0;
    const { src, dst } = readEndPoints(sad, slot);
    const end = ({ address, port }: typeof src) =>
      udp ? `${formatAddress(address)}[${port}]` : formatAddress(address);
    const counts = word(at.selectorCounts);
    const sources = counts & 0xffff;
    const selectors = (first: number, count: number) =>
      Array.from({ length: count }, (_, i) =>
        formatSelector(readSelector(sad.region, 4 * word(at.selectorsAt) + (first + i) * SELECTOR_SIZE)),
      );
    const limits = (kind: number): [number, number] => [
      sad.view.getFloat64(base + at.limits + 16 * kind, true),
      sad.view.getFloat64(base + at.limits + 16 * kind + 8, true),
    ];
    const lastUse = word(at.lastUse);
    const sequence = inbound
      ? (BigInt(word(at.topHigh)) << 32n) | BigInt(word(at.topLow))
      : lastSequence(sad.atomics, base >>> 2);
    sas.push({
      spi: word(at.spi).toString(16).padStart(8, "0"),
      direction: inbound ? "in" : "out",
      state:
        state === SaState.larval
          ? "larval"
          : state === SaState.dying
            ? "dying"
            : flags & SaFlag.expired
              ? "expired"
              : "active",
      src: end(src),
      dst: end(dst),
      reqid: word(at.reqid),
      mode: flags & SaFlag.transport ? "transport" : "tunnel",
      mark: formatMark(saIdentity(sad, slot).mark),
      ifId: word(at.interfaceId),
      setMark: formatMark({ value: word(at.setMarkValue), mask: word(at.setMarkMask) }),
      algorithm:
        word(at.keyLength) === 0
          ? ""
          : proposalName(word(at.encryption), word(at.keyLength), word(at.integrity)),
      esn: (flags & SaFlag.extendedSequenceNumbers) !== 0,
      udpEncapsulation: udp,
      replayWindow: word(at.replayWindow),
      srcSelectors: selectors(0, sources),
      dstSelectors: selectors(sources, counts >>> 16),
      ...saTotals(sad, slot),
      sequence: String(sequence),
      limits: { seconds: limits(0), bytes: limits(1), packets: limits(2) },
      ageSeconds: clock.seconds - word(at.added),
      idleSeconds: lastUse === 0 ? null : clock.seconds - lastUse,
    });
  }
  return sas;
}

const directions = ["in", "out", "forward"] as const;
const types = ["", "protect", "pass", "drop"] as const;
const classes = ["pass", "default", "trap", "fallback"] as const;

function readPolicies(spd: Spd): PolicyState[] {
  const entries = Array.from({ length: spd.used }, (_, entry) => entry).filter((entry) => spd.present(entry));
  return entries
    .sort((a, b) => spd.rank(a) - spd.rank(b) || spd.order(b) - spd.order(a))
    .map((entry) => {
      const request: PolicyRequest = spd.read(entry);
      const { id } = request;
      return {
        direction: directions[id.direction],
        type: types[request.type] as PolicyState["type"],
        class: classes[request.priorityClass],
        rank: Math.floor(spd.rank(entry)),
        src: formatSelector(id.srcSelector),
        dst: formatSelector(id.dstSelector),
        tunnelSrc: formatAddress(request.src.address),
        tunnelDst: formatAddress(request.dst.address),
        mode: request.mode === MODE_TRANSPORT ? "transport" : "tunnel",
        mark: formatMark(id.mark),
        ifId: id.interfaceId,
        reqid: request.reqid,
        spi: request.espSpi === 0 ? null : request.espSpi.toString(16).padStart(8, "0"),
        protected: directions[id.direction] === "out" && request.type === 1 ? spd.sa(entry) >= 0 : null,
      };
    });
}

function formatMark({ value, mask }: Mark): string | null {
  return mask === 0 ? null : `0x${value.toString(16)}/0x${mask.toString(16)}`;
}

/** `10.1.0.0/24`, `10.1.0.5-10.1.0.9`, and behind it protocol and ports where they matter: `10.1.0.0/24[udp/53]`. */
export function formatSelector({ from, to, protocol, fromPort, toPort }: Selector): string {
  const prefixes = rangeToPrefixes(from, to);
  const range =
    prefixes.length === 1 ? formatPrefix(prefixes[0]) : `${formatAddress(from)}-${formatAddress(to)}`;
  if (protocol === 0 && fromPort === 0 && toPort === 0xffff) return range;
  const name = { 1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp" }[protocol] ?? String(protocol);
  if (fromPort > toPort) return `${range}[${name}/opaque]`;
  if (fromPort === 0 && toPort === 0xffff) return `${range}[${name}]`;
  return `${range}[${name}/${fromPort === toPort ? fromPort : `${fromPort}-${toPort}`}]`;
}
