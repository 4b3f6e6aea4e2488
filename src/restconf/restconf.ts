// RESTCONF (RFC 8040) for one node: over a UNIX socket for root, and over TCP with TLS where the configuration says so.

import type { EventEmitter } from "node:events";
import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { RestconfTcp } from "../config/configuration.js";
import type { Datastore } from "../config/datastore.js";
import { unixAccess } from "./access.js";
import { makeFront } from "./front.js";
import { defaultHttpLimits, type HttpLimits } from "./limits.js";
import type { Logger, Operation, Service } from "./service.js";
import { defaultLimits, type StreamLimits, Streams } from "./streams.js";
import { TcpListener } from "./tcp.js";

export type { NotificationEvent, Operation } from "./service.js";

export interface RestconfOptions {
  datastore: Datastore;
  /** Content of /gateway-state in RFC 7951's form; asked only when an answer can include it. */
  state: () => object | Promise<object>;
  /** By the names of the model's rpcs, those about commits excepted. */
  operations: Readonly<Record<string, Operation>>;
  /** Emits "notification" with a `NotificationEvent`. Changes of the configuration come from the datastore. */
  events: EventEmitter;
  /** Path of the socket; its folder is there. */
  unixSocket: string;
  tcp?: RestconfTcp | undefined;
  logger: Logger;
  streams?: Partial<StreamLimits>;
  limits?: Partial<HttpLimits>;
}

export interface Restconf {
  /**
   * Changes what is listened at over TCP; undefined ends it.
   * @throws ConfigurationError that names the setting; what was before goes on
   */
  listenTcp(settings: RestconfTcp | undefined): Promise<void>;
  close(): Promise<void>;
}

/** @throws ConfigurationError for `tcp`, Error for the socket; nothing is left behind */
export async function startRestconf(options: RestconfOptions): Promise<Restconf> {
  const service: Service = options;
  const streams = new Streams(service, { ...defaultLimits, ...options.streams });
  const limits = { ...defaultHttpLimits, ...options.limits };
  const tcp = new TcpListener(service, streams, limits);
  let unix: Server | undefined;
  const close = async () => {
    streams.close();
    await Promise.all([tcp.close(), unix && closeServer(unix)]);
  };
  try {
    unix = await makeFront({
      service,
      streams,
      authenticate: unixAccess(),
      answerTimeout: limits.answerTimeout,
      makeServer: (handler) => createServer(limits, handler),
    });
    await listenUnix(unix, options.unixSocket);
    await tcp.apply(options.tcp);
  } catch (error) {
    await close();
    throw error;
  }
  return { listenTcp: (settings) => tcp.apply(settings), close };
}

/** A socket that a former run left is in the way; its folder belongs to this node alone. */
async function listenUnix(server: Server, path: string): Promise<void> {
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    const mask = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off("error", reject);
        resolve();
      });
    } finally {
      process.umask(mask);
    }
  });
  chmodSync(path, 0o600);
}

function closeServer(server: Server): Promise<void> {
  if (!server.listening) return Promise.resolve();
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
