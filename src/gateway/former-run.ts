// What an earlier run of the node was set to do, for a run that is to undo what it has no use for: devices, rules and
// routes outlive a supervisor that is killed, and the configuration may be another one by now.

import { readFileSync } from "node:fs";
import type { Configuration } from "../config/configuration.js";
import { ownedSettings } from "../config/owned-settings.js";
import type { ConfigurationFile } from "./run-configuration.js";
import type { RunDirectory } from "./run-directory.js";

/** A configuration of an earlier run; undefined when there was none. */
export function readFormer(run: RunDirectory, name: ConfigurationFile): Configuration | undefined {
  try {
    const former = JSON.parse(readFileSync(run.file(name), "utf8")) as Configuration;
    // One of another version may have another form, and then what it made is unknown.
    return Array.isArray(former["public-interface"]) && Array.isArray(former["private-interface"])
      ? former
      : undefined;
  } catch {
    return undefined;
  }
}

export type PrivateTun = Configuration["private-interface"][number];

/** The private interface that is the gateway's own host, if it is one. */
export function hostInterface(configuration: Configuration | undefined): PrivateTun | undefined {
  return configuration?.["private-interface"].find(({ driver }) => driver === "tun");
}

/** Names of the devices that a configuration makes, for whatever purpose. */
export function madeDevices(configuration: Configuration): Set<string> {
  const host = hostInterface(configuration);
  const punts = configuration["public-interface"].flatMap(
    (leaves) => ownedSettings(leaves)?.punt.device ?? [],
  );
  return new Set([...(host ? [host.name] : []), ...punts]);
}

/** Routing tables that a configuration writes to. */
export function usedTables(configuration: Configuration): Set<number> {
  const host = hostInterface(configuration)
    ? [configuration["route-table"], configuration["transport-route-table"]]
    : [];
  const punts = configuration["public-interface"].flatMap(
    (leaves) => ownedSettings(leaves)?.punt.routeTable ?? [],
  );
  return new Set([...host, ...punts]);
}
