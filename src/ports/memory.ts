// A port without a network: tests and benchmarks hand packets in and look at what came out.

import { type App, type AppContext, type Counters, counterIndex, type Source } from "../engine/app.js";
import { Link } from "../engine/link.js";
import { FRAME_SIZE, type Frames, HEADROOM, NONE } from "../memory/frames.js";
import { type Port, type PortOptions, portCounters, received, TAILROOM, type Waiting } from "./port.js";

const texts = {
  ...portCounters,
  "drop.no_frame": "packets that came while every frame was in use",
};
const c = counterIndex(texts);

export interface MemoryPortOptions extends PortOptions {
  /** Default: ethernet. */
  readonly kind?: "ethernet" | "ip";
}

export class MemoryPort implements Port {
  readonly name: string;
  readonly kind: "ethernet" | "ip";
  readonly source: Source = { pull: (max) => this.#pull(max) };
  readonly sink: App & { readonly input: Link };
  /** Copies of the packets that were transmitted, oldest first. */
  readonly transmitted: Uint8Array[] = [];

  readonly #frames: Frames;
  readonly #counters: Counters;
  readonly #output: Link;
  readonly #waiting: Uint8Array[] = [];

  constructor(context: AppContext, options: MemoryPortOptions) {
    this.name = options.name;
    this.kind = options.kind ?? "ethernet";
    this.#frames = context.frames;
    this.#counters = context.counters(options.name, texts);
    this.#output = options.output;
    this.sink = { input: new Link(context.frames), push: () => this.#push() };
  }

  /** Queues packets as if they had arrived; the next breaths bring them in. */
  receive(...packets: readonly Uint8Array[]): void {
    this.#waiting.push(...packets);
  }

  /** The packets transmitted since the last call. */
  take(): Uint8Array[] {
    return this.transmitted.splice(0);
  }

  #pull(max: number): number {
    let count = 0;
    while (count < max && this.#waiting.length > 0) {
      const packet = this.#waiting.shift() as Uint8Array;
      count++;
      if (packet.length > FRAME_SIZE - HEADROOM - TAILROOM) {
        this.#counters[c["drop.oversize"]]++;
        continue;
      }
      const frame = this.#frames.from(packet);
      if (frame === NONE) {
        this.#counters[c["drop.no_frame"]]++;
        continue;
      }
      received(this.#frames, frame, this.#frames.offset[frame], packet.length);
      this.#counters[c["rx.packets"]]++;
      this.#counters[c["rx.bytes"]] += packet.length;
      this.#output.transmit(frame);
    }
    return count;
  }

  #push(): void {
    const input = this.sink.input;
    while (input.readable > 0) {
      const frame = input.receive();
      this.transmitted.push(this.#frames.copy(frame));
      this.#counters[c["tx.packets"]]++;
      this.#counters[c["tx.bytes"]] += this.#frames.length[frame];
      this.#frames.free(frame);
    }
  }

  waiting(): readonly Waiting[] {
    return [];
  }

  close(): void {
    this.#waiting.length = 0;
  }
}
