// A port whose packets come from one capture file and go to another: for tests, and to look at what a worker makes of
// traffic that somebody else has captured.

import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { type App, type AppContext, type Counters, counterIndex, type Source } from "../engine/app.js";
import { Link } from "../engine/link.js";
import { ETHERNET_START, FRAME_SIZE, type Frames, HEADROOM, NONE } from "../memory/frames.js";
import {
  type CapturedPacket,
  LINKTYPE_ETHERNET,
  LINKTYPE_RAW,
  parsePcap,
  pcapHeader,
  pcapRecord,
} from "../net/pcap.js";
import { type Port, type PortOptions, portCounters, received, TAILROOM, type Waiting } from "./port.js";

const texts = {
  ...portCounters,
  "drop.cut": "packets of which the capture holds only the beginning",
};
const c = counterIndex(texts);

export interface PcapPortOptions extends PortOptions {
  /** Default: what the input file holds, ethernet without one. */
  readonly kind?: "ethernet" | "ip";
  /** The file that packets come from; none, and nothing is received. */
  readonly input?: string;
  /** How often the input is replayed, 1 when left out. */
  readonly repeat?: number;
  /** The file that packets go to, written anew; none, and they are only counted. */
  readonly transmit?: string;
  /** Time of transmitted packets, milliseconds since 1970; default: Date.now. */
  readonly clock?: () => number;
}

export class PcapPort implements Port {
  readonly name: string;
  readonly kind: "ethernet" | "ip";
  readonly source: Source = { pull: (max) => this.#pull(max) };
  readonly sink: App & { readonly input: Link };

  readonly #frames: Frames;
  readonly #counters: Counters;
  readonly #output: Link;
  readonly #packets: readonly CapturedPacket[];
  readonly #fd: number;
  readonly #clock: () => number;
  #next = 0;
  /** Times that the input is to be replayed after this one. */
  #again: number;

  /** What a capture file holds, for those who have to know it before they open a port. @throws as the constructor */
  static probe(input: string): { kind: "ethernet" | "ip" } {
    return { kind: readCapture(input).kind };
  }

  /** @throws Error when a file cannot be read or written, or holds packets of another kind */
  constructor(context: AppContext, options: PcapPortOptions) {
    this.name = options.name;
    this.#frames = context.frames;
    this.#counters = context.counters(options.name, texts);
    this.#output = options.output;
    this.#clock = options.clock ?? Date.now;
    const capture = options.input === undefined ? undefined : readCapture(options.input);
    this.#packets = capture?.packets ?? [];
    this.#again = (options.repeat ?? 1) - 1;
    this.kind = options.kind ?? capture?.kind ?? "ethernet";
    if (capture && capture.kind !== this.kind)
      throw new Error(`${options.input} holds ${capture.kind} packets, the port is for ${this.kind} packets`);
    this.#fd = options.transmit === undefined ? -1 : openSync(options.transmit, "w", 0o600);
    if (this.#fd >= 0)
      writeSync(this.#fd, pcapHeader(this.kind === "ethernet" ? LINKTYPE_ETHERNET : LINKTYPE_RAW));
    this.sink = { input: new Link(context.frames), push: () => this.#push() };
  }

  /** Whether all packets of the input file have come in. */
  get done(): boolean {
    return this.#next === this.#packets.length && (this.#again === 0 || this.#next === 0);
  }

  #pull(max: number): number {
    let count = 0;
    for (; count < max && !this.done; count++) {
      if (this.#next === this.#packets.length) {
        this.#next = 0;
        this.#again--;
      }
      const { bytes, originalLength } = this.#packets[this.#next];
      if (bytes.length > FRAME_SIZE - HEADROOM - TAILROOM) {
        this.#counters[c["drop.oversize"]]++;
      } else if (bytes.length < originalLength) {
        this.#counters[c["drop.cut"]]++;
      } else {
        const frame = this.#frames.from(bytes, ETHERNET_START);
        if (frame === NONE) break; // Captured packets can wait.
        received(this.#frames, frame, this.#frames.offset[frame], bytes.length);
        this.#counters[c["rx.packets"]]++;
        this.#counters[c["rx.bytes"]] += bytes.length;
        this.#output.transmit(frame);
      }
      this.#next++;
    }
    return count;
  }

  #push(): void {
    const input = this.sink.input;
    while (input.readable > 0) {
      const frame = input.receive();
      if (this.#fd >= 0) writeSync(this.#fd, pcapRecord(this.#frames.copy(frame), this.#clock()));
      this.#counters[c["tx.packets"]]++;
      this.#counters[c["tx.bytes"]] += this.#frames.length[frame];
      this.#frames.free(frame);
    }
  }

  waiting(): readonly Waiting[] {
    return [];
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
  }
}

function readCapture(path: string): { kind: "ethernet" | "ip"; packets: CapturedPacket[] } {
  try {
    const { linkType, packets } = parsePcap(readFileSync(path));
    if (linkType === LINKTYPE_ETHERNET) return { kind: "ethernet", packets };
    if (linkType === LINKTYPE_RAW) return { kind: "ip", packets };
    throw new Error(`its link type is ${linkType}; Ethernet (1) and raw IP (101) are supported`);
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
  }
}
