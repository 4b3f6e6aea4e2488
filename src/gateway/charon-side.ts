// charon's socket: open while the node has a key manager, and made anew for each SAD.

import type { Event } from "../charon/protocol.js";
import { CharonService } from "../charon/service.js";
import { KernelFeature } from "../ipsec/kernel.js";
import type { Databases } from "./databases.js";
import type { Logger } from "./log.js";
import type { RunDirectory } from "./run-directory.js";

const FEATURES = KernelFeature.espV3Tfc | KernelFeature.policySpi | KernelFeature.saUseTime;

export class CharonSide {
  readonly #run: RunDirectory;
  readonly #log: Logger;
  #service: CharonService | undefined;

  constructor(run: RunDirectory, log: Logger) {
    this.#run = run;
    this.#log = log;
  }

  get isOpen(): boolean {
    return this.#service !== undefined;
  }

  open({ kernel, sad }: Databases): void {
    this.#service = CharonService.listen({
      path: this.#run.charonSocket,
      kernel,
      features: FEATURES,
      bootId: sad.bootId,
      logger: this.#log,
    });
  }

  /** Hands an event to charon; false when it is not there. */
  send(event: Event): boolean {
    return (this.#service?.sendEvent(event) ?? 0) > 0;
  }

  async close(): Promise<void> {
    const service = this.#service;
    this.#service = undefined;
    await service?.stop();
  }
}
