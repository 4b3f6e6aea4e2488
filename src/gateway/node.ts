// A whole node: its datastore, the supervisor that carries commits out, and the API. `vita run` has one.

import { resolve } from "node:path";
import type { Configuration } from "../config/configuration.js";
import { Datastore } from "../config/datastore.js";
import { ConfigurationError } from "../config/problem.js";
import { readTextFile } from "../config/read-text.js";
import { messageOf } from "../config/refusal.js";
import { Schema } from "../config/schema.js";
import { openApi } from "./api.js";
import { IkeError } from "./ike-error.js";
import type { Logger } from "./log.js";
import { stateDirectory } from "./sequence-marks.js";
import { Supervisor } from "./supervisor.js";

export interface NodeOptions {
  /** The startup file. */
  file: string;
  /** Changes what is in force, whatever the configuration says. */
  adjust?: (configuration: Configuration) => Configuration;
  logger: Logger;
}

export class Node {
  readonly #log: Logger;
  readonly #file: string;
  readonly #datastore: Datastore;
  readonly #supervisor: Supervisor;
  readonly #closeApi: Promise<() => Promise<void>>;

  private constructor(options: NodeOptions, file: string, datastore: Datastore, supervisor: Supervisor) {
    const { logger, adjust = same } = options;
    this.#log = logger;
    this.#file = file;
    this.#datastore = datastore;
    this.#supervisor = supervisor;
    datastore.carryOut = (_from, to) => supervisor.reconfigure(adjust(to)).catch(rethrow);
    // Traffic goes without it, and need not wait for it.
    this.#closeApi = openApi(datastore, supervisor, logger).catch((error) => {
      logger.warn(`there is no RESTCONF: ${messageOf(error)}`);
      return async () => {};
    });
  }

  /** Brings a node up. @throws ConfigurationError, or Error with what to do about it; nothing is left running then */
  static async start(options: NodeOptions): Promise<Node> {
    const { logger, adjust = same } = options;
    const file = resolve(options.file);
    const datastore = Datastore.open({
      schema: Schema.load(),
      startupFile: file,
      stateDirectory: (node) => stateDirectory(node),
      warn: (text) => logger.warn(text),
    });
    try {
      const supervisor = await Supervisor.start(adjust(datastore.configuration), logger);
      return new Node(options, file, datastore, supervisor);
    } catch (error) {
      datastore.close();
      throw error;
    }
  }

  /** Resolves when the node cannot go on and should be stopped; why is in the log. */
  get over(): Promise<void> {
    return this.#supervisor.over;
  }

  /**
   * Reads the startup file, which somebody may have edited, and brings what it says into force; then charon is given what
   * has changed in the files that it names. What is wrong is logged.
   */
  async reload(): Promise<void> {
    try {
      const value = { text: readTextFile(this.#file).text, format: "json" } as const;
      const edit = { operation: "replace", target: "/", value } as const;
      await this.#datastore.commit([edit], { user: "root", comment: `edited in ${this.#file}` });
      this.#log.info(`the configuration is in force that ${this.#file} has`);
    } catch (error) {
      this.#log.warn(`the configuration stays as it was: ${messageOf(error)}`);
      return;
    }
    try {
      await this.#supervisor.connections.reload();
    } catch (error) {
      this.#log.warn(`charon keeps the certificates and keys that it has: ${messageOf(error)}`);
    }
  }

  async stop(): Promise<void> {
    this.#datastore.close();
    await (await this.#closeApi)();
    await this.#supervisor.stop();
  }
}

const same = (configuration: Configuration) => configuration;

/** Errors that name a leaf are told with it. */
function rethrow(error: unknown): never {
  if (!(error instanceof IkeError)) throw error;
  const { path, reason } = error;
  throw new ConfigurationError("", [{ path, rule: "operation-failed", message: reason }]);
}
