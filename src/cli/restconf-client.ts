// Requests to a node's RESTCONF server over its UNIX socket.

import { existsSync } from "node:fs";
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { RunDirectory } from "../gateway/run-directory.js";
import { CliError, EXIT_FAILED, EXIT_NO_DATA, EXIT_UNREACHABLE } from "./exit-codes.js";

/** Milliseconds for a node that begins to offer its API, and between two tries. */
const START_PATIENCE = 5000;
const RETRY = 50;
/** Milliseconds without a sign of life of the server. A change that restarts workers takes a few seconds. */
const PATIENCE = 90_000;

export interface Request {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Below the root, such as `/restconf/data/vita-gateway:mtu`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: string;
  readonly contentType?: string;
  readonly accept?: string;
  /** How long the node may take beyond what any request may, in seconds. */
  readonly seconds?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

interface RestconfErrors {
  "ietf-restconf:errors"?: {
    error?: { "error-path"?: string; "error-message"?: string; "error-tag": string }[];
  };
}

export class RestconfClient {
  readonly #node: string;
  readonly #socket: string;
  /** There while the node runs, or where it was killed. */
  readonly #lock: string;

  constructor(node: string) {
    this.#node = node;
    const run = new RunDirectory(node);
    this.#socket = run.file("api.sock");
    this.#lock = run.file("lock");
  }

  /** @throws CliError when the node does not answer, or with what it has to say against the request */
  async send(wanted: Request): Promise<Answer> {
    const answer = await this.#patientExchange(wanted);
    if (answer.status < 400) return answer;
    throw new CliError(refusal(answer), answer.status === 404 ? EXIT_NO_DATA : EXIT_FAILED);
  }

  /** Waits for a node that has begun to run: it moves packets before it offers its API. */
  async #patientExchange(wanted: Request): Promise<Answer> {
    for (let waited = 0; ; waited += RETRY) {
      try {
        return await this.#exchange(wanted);
      } catch (error) {
        if (waited >= START_PATIENCE || !isAbsent(error) || !existsSync(this.#lock))
          throw this.#unreachable(error as Error);
        await sleep(RETRY);
      }
    }
  }

  #exchange(wanted: Request): Promise<Answer> {
    const { method, path, query = {}, body, contentType, accept, seconds = 0 } = wanted;
    const patience = PATIENCE + seconds * 1000;
    const parameters = Object.entries(query)
      .filter((entry): entry is [string, string] => entry[1] !== undefined)
      .map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          socketPath: this.#socket,
          method,
          path: parameters.length === 0 ? path : `${path}?${parameters.join("&")}`,
          headers: {
            host: "localhost",
            accept: accept ?? "application/yang-data+json",
            ...(body === undefined
              ? {}
              : { "content-type": contentType, "content-length": Buffer.byteLength(body) }),
          },
          timeout: patience,
        },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
          incoming.on("error", reject);
          incoming.on("end", () =>
            resolve({
              status: incoming.statusCode ?? 500,
              headers: incoming.headers,
              body: Buffer.concat(chunks).toString("utf8"),
            }),
          );
        },
      );
      outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${patience / 1000} s`)));
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  }

  #unreachable(error: Error): CliError {
    const why = isAbsent(error)
      ? `node ${this.#node} does not run (nothing answers at ${this.#socket}); start it with vita run`
      : (error as NodeJS.ErrnoException).code === "EACCES"
        ? `${this.#socket} is not for everybody: try it as root`
        : `node ${this.#node} does not answer at ${this.#socket}: ${error.message}`;
    return new CliError(why, EXIT_UNREACHABLE);
  }
}

/** Does nobody listen? */
function isAbsent(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ECONNREFUSED";
}

/** What the server said, one line for each of its errors. */
function refusal({ status, body }: Answer): string {
  let errors: RestconfErrors = {};
  try {
    errors = JSON.parse(body) as RestconfErrors;
  } catch {
    // What it said stands below as it is.
  }
  const list = errors["ietf-restconf:errors"]?.error ?? [];
  if (list.length === 0)
    return `the node answered with status ${status}${body ? `: ${body.slice(0, 500)}` : ""}`;
  return list
    .map(({ "error-path": path, "error-message": message, "error-tag": tag }) => {
      const text = message ?? tag;
      const where = path?.replaceAll("vita-gateway:", "");
      return where === undefined || text.includes(where) ? text : `${where}: ${text}`;
    })
    .join("\n");
}
