// Steps of which all are done or none: each says how it is taken back, and when one fails those before it are, the last one
// first. What can only be done at the end, because it cannot be taken back, waits until all have succeeded.

import { messageOf } from "../config/refusal.js";
import type { Logger } from "./log.js";

type Step = () => void | Promise<void>;

export class Steps {
  readonly #log: Logger;
  readonly #back: Step[] = [];
  readonly #last: Step[] = [];

  constructor(log: Logger) {
    this.#log = log;
  }

  /** From now on this is done, too, when a step fails. */
  orElse(back: Step): void {
    this.#back.push(back);
  }

  /** To be done when all steps have succeeded. */
  atLast(step: Step): void {
    this.#last.push(step);
  }

  /**
   * Takes the steps.
   * @throws what a step has thrown, when all is as before; where that cannot be had, the log says what is missing
   */
  async run(steps: () => Promise<void>): Promise<void> {
    try {
      await steps();
    } catch (error) {
      for (const back of this.#back.reverse()) await this.#see("taking the change back", back);
      throw error;
    }
    for (const step of this.#last) await this.#see("tidying up behind the change", step);
  }

  async #see(what: string, step: Step): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.#log.warn(`${what}: ${messageOf(error)}`);
    }
  }
}
