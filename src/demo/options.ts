// The demo's command line.

import { Command, InvalidArgumentError, Option } from "commander";
import type { System } from "../lab/charon.js";
import type { Mode, Side } from "../lab/sites.js";

export interface DemoOptions {
  check: boolean;
  json: boolean;
  /** What runs on gateway B. */
  peer: System;
  /** What runs on gateway A: Vita, unless the harness itself is to be tried out. */
  near: System;
  family: 4 | 6;
  /** Who has the public interfaces of the gateways that run Vita. */
  modes: Record<Side, Mode>;
  /** Seconds that each of the measurements takes. */
  seconds: number;
}

/** The command line asks for something that does not exist; exit code 2. */
export class UsageError extends Error {}

interface Raw {
  check?: boolean;
  json?: boolean;
  peer: System;
  near: System;
  ipv6?: boolean;
  mode: Mode;
  peerMode?: Mode;
  seconds: number;
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value >= 1 && value <= 3600))
    throw new InvalidArgumentError("a number of seconds from 1 to 3600, please.");
  return value;
}

export function parseOptions(argv: string[]): DemoOptions {
  const command = new Command("npm start --")
    .description("Two sites in network namespaces, each with charon and Vita, and traffic between them.")
    .option("--check", "run once: ping, TCP, UDP, three rekeys under load; exit 0 if all held, else 1")
    .option("--json", "with --check: print one JSON object on stdout")
    .addOption(new Option("--peer <system>", "the far gateway").choices(["vita", "libipsec"]).default("vita"))
    .addOption(new Option("--near <system>").choices(["vita", "libipsec"]).default("vita").hideHelp())
    .option("--ipv6", "IPv6 inside and outside of the tunnel")
    .addOption(
      new Option("--mode <mode>", "who owns the public interface")
        .choices(["shared", "owned"])
        .default("shared"),
    )
    .addOption(
      new Option("--peer-mode <mode>", "the same for the far gateway alone (default: as --mode)").choices([
        "shared",
        "owned",
      ]),
    )
    .option("--seconds <number>", "seconds that each of the check's measurements takes", positive, 3);
  command.exitOverride((error) => {
    // commander has printed its message already.
    process.exit(error.exitCode === 0 ? 0 : 2);
  });
  const raw = command.parse(argv, { from: "user" }).opts<Raw>();
  const modes = { a: raw.mode, b: raw.peerMode ?? (raw.peer === "vita" ? raw.mode : "shared") };
  if (modes.a === "owned" && raw.near !== "vita") throw new UsageError("only Vita owns interfaces");
  if (raw.peerMode === "owned" && raw.peer !== "vita")
    throw new UsageError("--peer-mode owned goes with --peer vita: only Vita owns interfaces");
  if (raw.json && !raw.check) throw new UsageError("--json goes with --check");
  return {
    check: raw.check ?? false,
    json: raw.json ?? false,
    peer: raw.peer,
    near: raw.near,
    family: raw.ipv6 ? 6 : 4,
    modes,
    seconds: raw.seconds,
  };
}
