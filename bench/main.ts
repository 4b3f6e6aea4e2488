// `npm run --silent bench -- NAME [options]`: one benchmark. Each is a module beside this one that exports
// `run(args)`; it prints its result on stdout (as JSON with --json) and anything else on stderr.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { V8_FLAGS } from "../src/gateway/v8-flags.js";

// What is measured is compiled the way a worker compiles it. Nothing of it has run yet.
for (const flag of V8_FLAGS) setFlagsFromString(flag);

interface Benchmark {
  run(args: string[]): Promise<void>;
}

/** Name, and what it measures. */
const benchmarks: Record<string, string> = {
  softbench:
    "one worker without a kernel: every app of a gateway, both ways   --size 60|IMIX|1500 --cipher NAME",
  sas: "softbench with 10,000 SAs against softbench with one   --size 60|IMIX|1500 --sas N",
  scale:
    "softbench in several workers, a core each, all on one SA   --workers 1,2 --size 60|IMIX|1500 --require --svg FILE",
  crypto: "the ceiling: libIPSec_MB alone, from TypeScript   --size 60|IMIX|1500 --cipher NAME",
  compare:
    "crypto and softbench in turns, and the ratio   --size 60|IMIX|1500 --cipher NAME --require --svg FILE",
  apps: "where a packet's time goes, app by app   --size 60|IMIX|1500 --svg FILE",
  flame: "the flame graph of softbench   --size 60|IMIX|1500 --svg FILE",
  instructions: "how many instructions a packet takes, app by app and loop by loop   --size 60|IMIX|1500",
  guard: "has an app become slower than bench/guard-limits.json says?   --write --versions 20,24,26",
  steady: "does a warm worker deoptimise or allocate? It must not   --size 60|IMIX|1500 --seconds N",
  node: "compare under several versions of Node   --versions 20,24,26,26-maglev --svg FILE",
  pcap: "capture files through a worker and back   FILE… --repeat N --transmit FILE",
  memory: "resident size of each process, and bytes an SA   --sas N",
  bursts: "what each cipher costs, and what bursts do for it   --cipher NAME,… --size 60|IMIX|1500",
  idle: "CPU time at rest, and the time that a worker takes to wake up   --seconds N --rounds N --probes N",
  ports: "what the kernel takes for a packet, by driver   --size 126,1478 --rounds N --milliseconds N",
  tunnel:
    "iperf3 and ping through tunnels between two namespaces   --peers vita,vita-udp,libipsec,wireguard-go --rounds N --svg FILE",
  config:
    "5,000 routes and connections given to a running node, and one more   --entries N --rounds N --require",
  report: "writes figures and charts of docs/performance.md and README.md anew   --only NAME,…",
};

function usage(): string {
  const lines = Object.entries(benchmarks).map(([name, what]) => `  ${name.padEnd(12)} ${what}`);
  return `npm run --silent bench -- NAME [--json] …\n${lines.join("\n")}\n`;
}

function fail(message: string, status: number): never {
  process.stderr.write(message);
  process.exit(status);
}

const [name = "", ...args] = process.argv.slice(2);
if (name === "--help" || name === "-h") {
  process.stdout.write(usage());
} else {
  if (!Object.hasOwn(benchmarks, name)) fail(name ? `no benchmark "${name}"\n${usage()}` : usage(), 2);
  const module = fileURLToPath(new URL(`./${name}.js`, import.meta.url));
  if (!existsSync(module)) fail(`the benchmark "${name}" is not there yet\n`, 2);
  const benchmark = (await import(module)) as Benchmark;
  try {
    await benchmark.run(args);
  } catch (error) {
    fail(`${name}: ${error instanceof Error ? error.message : String(error)}\n`, 1);
  }
}
