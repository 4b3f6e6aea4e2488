// What a change of the configuration asks of a running node: the least that carries it out. Whatever is not named here is
// none of the workers' business, and is left to the parts that know it (see Reconfiguration).

import { isDeepStrictEqual } from "node:util";
import type { Configuration } from "../config/configuration.js";
import { systemSettings } from "./system-side.js";

export interface Change {
  /** Workers go on; or another one takes the place of each, one after the other; or all together. */
  readonly workers: "go on" | "one by one" | "together";
  /** Packet memory of another size. */
  readonly memory: boolean;
  /** A new SAD and SPD: all SAs are lost. */
  readonly databases: boolean;
  /** Devices, rules and routes that the node has made. */
  readonly system: boolean;
  /** Which processors the workers run on. */
  readonly cpus: boolean;
  /** What the pseudo-kernel asks of charon's calls. */
  readonly kernel: boolean;
  /** charon's socket is opened, closed, or told of another SAD. */
  readonly charon: boolean;
}

/** @param engineOf number of the engine that a configuration gets on this machine */
export function changeOf(
  from: Configuration,
  to: Configuration,
  engineOf: (configuration: Configuration) => number,
): Change {
  const differs = (settings: (configuration: Configuration) => unknown) =>
    !isDeepStrictEqual(settings(from), settings(to));
  const databases = differs((c) => [c.limits.sas, c.limits.policies, engineOf(c)]);
  const memory = differs((c) => [c.workers, c.limits.frames]);
  const together = memory || databases || differs(interfaces);
  return {
    workers: together ? "together" : differs(manners) ? "one by one" : "go on",
    memory,
    databases,
    system: databases || differs(systemSettings),
    cpus: differs((c) => c["worker-cpu"]),
    kernel: differs((c) => [c.limits["orphan-seconds"], interfaces(c)]),
    charon: databases || differs((c) => c["data-plane"]),
  };
}

/** Can workers of one configuration go on under another one? */
export function sameForWorkers(from: Configuration, to: Configuration): boolean {
  return changeOf(from, to, ({ engine }) => ["auto", "ipsec-mb", "node"].indexOf(engine)).workers === "go on";
}

/** What workers have devices in common by. The MTU of the device to be made is the system's. */
function interfaces(configuration: Configuration): unknown {
  return [
    configuration["public-interface"].map(({ punt, ...leaves }) => ({
      ...leaves,
      punt: punt && { device: punt.device, traffic: punt.traffic },
    })),
    configuration["private-interface"].map(({ mtu, ...leaves }) => leaves),
  ];
}

/** What each worker has for itself. */
function manners(configuration: Configuration): unknown {
  return [configuration["busy-poll"], configuration.mtu];
}
