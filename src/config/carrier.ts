// Changes what is in force, one change at a time. A change that takes too long is given up but not forgotten: see
// datastore.ts.

import type { Configuration } from "./configuration.js";
import { ConfigurationError } from "./problem.js";
import { messageOf, refusal } from "./refusal.js";
import { TooLate, withinLimit } from "./time-limit.js";
import type { Turns } from "./turns.js";

export type CarryOut = (from: Configuration, to: Configuration) => Promise<void>;

/** What is done when it is clear how a change has ended. */
interface Outcome {
  /** It has gone through, but too late: its maker was told that it has failed. */
  late: () => void | Promise<void>;
  /** It has failed, sooner or later: what was in force before is in force. */
  failed: () => void;
}

export class Carrier {
  carryOut: CarryOut = async () => {
    throw new Error("the node is not up yet");
  };
  readonly #turns: Turns;
  readonly #limit: number;
  readonly #warn: (text: string) => void;

  /** @param limit longest time (ms) that a change may take */
  constructor(turns: Turns, limit: number, warn: (text: string) => void) {
    this.#turns = turns;
    this.#limit = limit;
    this.#warn = warn;
  }

  /**
   * Carries a change out.
   * @throws ConfigurationError; `from` is in force, or nobody knows yet, and nobody has a turn until it is known
   */
  async carry(from: Configuration, to: Configuration, outcome: Outcome): Promise<void> {
    try {
      await withinLimit(this.#limit, () => this.carryOut(from, to));
    } catch (error) {
      if (error instanceof TooLate) this.#wait(error, outcome);
      else outcome.failed();
      if (error instanceof ConfigurationError) throw error;
      throw refusal("operation-failed", `carrying it out: ${messageOf(error)}`);
    }
  }

  #wait(late: TooLate, outcome: Outcome): void {
    this.#warn(`a change of the configuration ${late.message}: no other is let in until it has`);
    const ended = late.rest.then(
      async () => {
        this.#warn("the change of the configuration has ended after all");
        await outcome.late();
      },
      (error) => {
        this.#warn(`the change of the configuration has failed: ${messageOf(error)}`);
        outcome.failed();
      },
    );
    const told = ended.catch((error) => this.#warn(messageOf(error)));
    this.#turns.hold(told, "a former change of the configuration has not ended yet");
  }
}
