// Counts packets on a link with tcpdump. The filter runs in the kernel, so that a capture which looks for what must not
// be there costs nothing while it is not there; and because such a capture would also be silent if it were broken,
// its user should have it see something first.

import { existsSync, readFileSync } from "node:fs";
import { sleep, until } from "./command.js";
import type { Lab } from "./lab.js";
import type { Child } from "./process.js";

export interface CaptureOptions {
  name: string;
  namespace: string;
  device: string;
  /** In tcpdump's language. */
  filter: string;
  /** Stop by itself after so many packets. */
  limit?: number;
}

const fileHeader = 24;
const recordHeader = 16;

/** The packets of a pcap file (little endian, as this machine writes it); a record that is half written is left out. */
export function readPcap(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const packets: Uint8Array[] = [];
  let at = fileHeader;
  while (at + recordHeader <= file.length) {
    const length = view.getUint32(at + 8, true);
    const next = at + recordHeader + length;
    if (next > file.length) break;
    packets.push(file.subarray(at + recordHeader, next));
    at = next;
  }
  return packets;
}

export class Capture {
  readonly file: string;
  readonly #child: Child;

  private constructor(file: string, child: Child) {
    this.file = file;
    this.#child = child;
  }

  /** Returns once the capture sees packets. */
  static async start(lab: Lab, options: CaptureOptions): Promise<Capture> {
    const file = lab.path(`${options.name}.pcap`);
    const limit = options.limit === undefined ? [] : ["-c", String(options.limit)];
    // Without --immediate-mode and -U, the last packets before the end wait in a buffer and are lost with it.
    const child = lab.start(
      "tcpdump",
      [
        ...["-i", options.device, "-n", "-U", "--immediate-mode", "-B", "16384", "-s", "256", "-Z", "root"],
        ...["-w", file, ...limit, options.filter],
      ],
      { name: options.name, namespace: options.namespace },
    );
    await until(
      `${options.name}: tcpdump on ${options.device}`,
      () => {
        child.assertRunning();
        return child.tail().includes("listening on");
      },
      10_000,
      20,
    );
    return new Capture(file, child);
  }

  packets(): Uint8Array[] {
    return existsSync(this.file) ? readPcap(readFileSync(this.file)) : [];
  }

  get count(): number {
    return this.packets().length;
  }

  /** Ends the capture; answers with the number of packets that it should have seen but did not. */
  async stop(): Promise<number> {
    // What has crossed the link is in tcpdump's queue; let it come round to it.
    await sleep(100);
    await this.#child.stop("SIGINT");
    return Number(/(\d+) packets? dropped by kernel/.exec(this.#child.tail())?.[1] ?? 0);
  }
}
