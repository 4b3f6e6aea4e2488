// Tells when an interface of the configuration can carry packets, and when it cannot any more, or is gone.

import type { Configuration } from "../config/configuration.js";
import { NetworkMonitor } from "../ports/network-monitor.js";
import type { NodeEvents } from "./node-events.js";

export class LinkEvents {
  readonly #events: NodeEvents;
  readonly #monitor: NetworkMonitor;
  /** Whether each device that there is can carry packets. */
  readonly #isUp = new Map<string, boolean>();
  #names = new Set<string>();

  /** @throws SystemError */
  constructor(configuration: Configuration, events: NodeEvents) {
    this.#events = events;
    const ignore = () => {};
    this.#monitor = new NetworkMonitor(
      {
        reset: ignore,
        link: ({ name, up }, present) => this.#change(name, up && present),
        neighbour: ignore,
        address: ignore,
        route: ignore,
      },
      false,
      ["link"],
    );
    this.watch(configuration);
  }

  /** Begins to tell of the interfaces of a configuration, and of no others. */
  watch(configuration: Configuration): void {
    this.#names = new Set(
      [...configuration["public-interface"], ...configuration["private-interface"]].map(({ name }) => name),
    );
  }

  /** To be called often. */
  check(): void {
    while (this.#monitor.poll());
  }

  #change(name: string, isUp: boolean): void {
    const wasUp = this.#isUp.get(name) ?? false;
    this.#isUp.set(name, isUp);
    if (wasUp !== isUp && this.#names.has(name))
      this.#events.emit(isUp ? "port-up" : "port-down", { interface: name });
  }

  close(): void {
    this.#monitor.close();
  }
}
