// What kind of machine figures come from.

import { readFileSync } from "node:fs";

export interface Processor {
  /** Vendor, family and model; of a virtual machine's processor that says more than its name. */
  cpu: string;
  /** AES on vectors, which makes the crypto library about twice as fast. */
  vaes: boolean;
  /** Major version of Node. */
  node: number;
}

export function machine(): Processor {
  const info = readFileSync("/proc/cpuinfo", "utf8");
  const field = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, "m").exec(info)?.[1] ?? "?";
  return {
    cpu: `${field("vendor_id")} family ${field("cpu family")} model ${field("model")}`,
    vaes: field("flags").split(" ").includes("vaes"),
    node: Number(process.versions.node.split(".")[0]),
  };
}
