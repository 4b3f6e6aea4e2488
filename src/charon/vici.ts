// A lasting connection to charon's vici socket: it is made as soon as charon can be reached, and again whenever it was
// lost; the subscriptions to events are made anew each time, before anybody hears of the connection.

import {
  type EventHandler,
  ViciConnection,
  type ViciConnectionOptions,
  ViciRefusal,
} from "./vici-connection.js";

export interface ViciOptions extends ViciConnectionOptions {
  uri: string;
  /** What to subscribe to. Events that charon does not know are left out. */
  events?: Readonly<Record<string, EventHandler>>;
  /** A connection was made; the one before, if any, is gone. */
  connected: (connection: ViciConnection) => void;
  /** A connection was lost, or the first attempt of a row failed. */
  lost: (why: Error) => void;
}

/** Milliseconds between two attempts: doubled from the first to the last. */
const FIRST_PAUSE = 100;
const LAST_PAUSE = 1000;

export class Vici {
  readonly #options: ViciOptions;
  #connection: ViciConnection | undefined;
  #pause = FIRST_PAUSE;
  #timer: NodeJS.Timeout | undefined;
  #isTold = false;
  #isClosed = false;
  #attempt: Promise<void>;

  /** Begins to connect. */
  constructor(options: ViciOptions) {
    this.#options = options;
    this.#attempt = this.#connect();
  }

  /** The connection in use, if there is one. */
  get connection(): ViciConnection | undefined {
    return this.#connection?.isOpen ? this.#connection : undefined;
  }

  /** Waits until the attempt to connect that is under way has ended, one way or the other. */
  settled(): Promise<void> {
    return this.#attempt;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#connection?.close();
  }

  async #connect(): Promise<void> {
    let connection: ViciConnection | undefined;
    try {
      connection = await ViciConnection.open(this.#options.uri, this.#options);
      await this.#subscribe(connection);
    } catch (error) {
      connection?.close();
      this.#failed(error as Error);
      return;
    }
    if (this.#isClosed) {
      connection.close();
      return;
    }
    this.#connection = connection;
    this.#isTold = false;
    const began = performance.now();
    void connection.closed.then((why) => {
      // One that fails at once is no reason to try more often.
      if (performance.now() - began > LAST_PAUSE) this.#pause = FIRST_PAUSE;
      this.#failed(why);
    });
    this.#options.connected(connection);
  }

  async #subscribe(connection: ViciConnection): Promise<void> {
    const events = Object.entries(this.#options.events ?? {});
    await Promise.all(
      events.map(async ([event, handler]) => {
        try {
          await connection.subscribe(event, handler);
        } catch (error) {
          if (!(error instanceof ViciRefusal)) throw error;
        }
      }),
    );
  }

  #failed(why: Error): void {
    this.#connection = undefined;
    if (this.#isClosed) return;
    if (!this.#isTold) this.#options.lost(why);
    this.#isTold = true;
    this.#timer = setTimeout(() => {
      this.#attempt = this.#connect();
    }, this.#pause);
    this.#pause = Math.min(LAST_PAUSE, 2 * this.#pause);
  }
}
