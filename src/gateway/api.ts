// The API of a node: RESTCONF on a socket in its run directory, and over TCP where the configuration says so. It is loaded
// when the node is up, and not before.

import { EventEmitter } from "node:events";
import { isDeepStrictEqual } from "node:util";
import type { Datastore } from "../config/datastore.js";
import { ConfigurationError } from "../config/problem.js";
import { gatewayState } from "./gateway-state.js";
import type { Logger } from "./log.js";
import { readState } from "./state.js";
import type { Supervisor } from "./supervisor.js";

const NOTIFICATIONS = ["sa-up", "sa-down", "sa-rekeyed", "port-up", "port-down"] as const;

/** Input of the rpcs about connections, which is checked. */
interface Which {
  connection: string;
  child?: string;
  timeout: number;
  reauth?: boolean;
}

/** @returns how to end it @throws Error when its socket cannot be had */
export async function openApi(
  datastore: Datastore,
  supervisor: Supervisor,
  logger: Logger,
): Promise<() => Promise<void>> {
  const { startRestconf } = await import("../restconf/restconf.js");
  const { connections, run } = supervisor;
  const started = new Date();
  const events = new EventEmitter();
  for (const name of NOTIFICATIONS)
    supervisor.events.on(name, (content: object) => events.emit("notification", { name, content }));
  const operation = (work: (which: Which) => Promise<void>) => (input: object) => work(input as Which);
  const options = {
    datastore,
    state: async () =>
      gatewayState({
        node: readState(run.node, run.base),
        started,
        ike: await connections.ikeState(),
        datastore,
      }),
    operations: {
      "connection-up": operation(({ connection, child, timeout }) =>
        connections.up(connection, child, timeout),
      ),
      "connection-down": operation(({ connection, child, timeout }) =>
        connections.down(connection, child, timeout),
      ),
      "connection-rekey": operation(({ connection, child, timeout, reauth }) =>
        connections.rekey(connection, child, timeout, reauth),
      ),
    },
    events,
    unixSocket: run.file("api.sock"),
    logger,
  };
  const { tcp } = datastore.configuration.restconf;
  const restconf = await startRestconf({ ...options, tcp }).catch((error) => {
    if (!(error instanceof ConfigurationError)) throw error;
    logger.warn(`RESTCONF is not to be had over TCP: ${error.message}`);
    return startRestconf(options);
  });
  supervisor.setApi({
    apply: async (from, to) => {
      if (!isDeepStrictEqual(from?.restconf, to.restconf)) await restconf.listenTcp(to.restconf.tcp);
    },
  });
  return () => restconf.close();
}
