// How long, and for how much, a server waits for a client.

import type { ServerOptions } from "node:http";

export const httpLimits = {
  maxHeaderSize: 16 * 1024,
  /** Milliseconds, as all of them: until the headers are there, until the whole request is, between two requests. */
  headersTimeout: 10_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 30_000,
  connectionsCheckingInterval: 5_000,
} satisfies ServerOptions;
