// How long, and for how much, a server waits for a client.

import type { ServerOptions } from "node:http";

const httpLimits = {
  maxHeaderSize: 16 * 1024,
  /** Milliseconds, as all of them: until the headers are there, until the whole request is, between two requests. */
  headersTimeout: 10_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 30_000,
  connectionsCheckingInterval: 5_000,
} satisfies ServerOptions;

/** Beside those that Node.js keeps. `answerTimeout`: milliseconds in which a client takes nothing of its answer. */
export type HttpLimits = typeof httpLimits & { answerTimeout: number };

export const defaultHttpLimits: HttpLimits = { ...httpLimits, answerTimeout: 60_000 };
