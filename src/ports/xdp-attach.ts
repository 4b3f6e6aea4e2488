// Attaching an XDP program to a device, and telling the user what stands in the way.

import { interfaceIndex, SystemError } from "../native/libc.js";
import { attachXdp, programName, XDP_GENERIC, XDP_NATIVE } from "./bpf.js";
import { hasCode, patiently } from "./patience.js";
import { attachedPrograms } from "./xdp-query.js";

/** Where the program runs: in the driver, in the kernel's stack (works on any device, slower), or what can be had. */
export type XdpMode = "auto" | "native" | "generic";

/** How the kernel says that another program, or another socket, has the device. */
export const BUSY = ["EBUSY", "EEXIST"];

/**
 * Attaches the program; it is detached when the link's descriptor is closed. A predecessor gets a second to go.
 * @throws Error that says what is in the way, and what to do
 */
export function attach(
  program: number,
  device: string,
  index: number,
  mode: XdpMode,
): { link: number; mode: "native" | "generic" } {
  const modes = mode === "auto" ? (["native", "generic"] as const) : [mode];
  for (const [i, kind] of modes.entries()) {
    const flags = kind === "native" ? XDP_NATIVE : XDP_GENERIC;
    const what = `attaching the XDP program to ${device} in ${kind} mode`;
    try {
      return { link: patiently(BUSY, () => attachXdp(program, index, flags, what)), mode: kind };
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (hasCode(error, BUSY)) throw new Error(occupied(device), { cause: error });
      if (i < modes.length - 1) continue;
      if (mode === "native")
        throw new Error(`${error.message}: the driver does not run it; set xdp-mode to auto or generic`, {
          cause: error,
        });
      throw error;
    }
  }
  throw new Error(`no XDP mode to try on ${device}`);
}

function occupied(device: string): string {
  let who = "";
  try {
    who = attachedPrograms(interfaceIndex(device))
      .map((id) => `${programName(id) || "a program without a name"} (id ${id})`)
      .join(" and ");
  } catch {
    // The message is of use without the name.
  }
  return (
    `another XDP program is attached to ${device}: ${who || "unknown"}; ` +
    `end what attached it, or try "ip link set dev ${device} xdp off"`
  );
}
