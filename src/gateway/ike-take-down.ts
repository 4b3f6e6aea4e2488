// Ends the IKE_SAs of connections that were taken away from charon: charon itself would let them live on. The peers are
// told, and are given a second to answer; then the SAs are removed without them.

import { setTimeout as sleep } from "node:timers/promises";
import { type ViciConnection, ViciRefusal } from "../charon/vici-connection.js";
import type { ViciFields } from "../charon/vici-message.js";
import type { Logger } from "./log.js";

/** Milliseconds for the peers to answer, and between two looks. */
const GRACE = 1000;
const LOOK = 25;

/** @returns how many SAs there were; charon refuses when there are none */
async function terminate(connection: ViciConnection, fields: ViciFields): Promise<number> {
  try {
    const answer = await connection.request("terminate", { ...fields, timeout: "-1" });
    return answer.number("matches") ?? 0;
  } catch (error) {
    if (!(error instanceof ViciRefusal)) throw error;
    return error.answer.number("matches") ?? 0;
  }
}

/** Those of the connections that have an IKE_SA. */
async function living(connection: ViciConnection, names: readonly string[]): Promise<string[]> {
  const found = new Set<string>();
  for (const ike of names) {
    await connection.stream("list-sas", { ike, noblock: "yes" }, "list-sa", (event) => {
      for (const name of event.sections.keys()) found.add(name);
    });
  }
  return [...found];
}

/**
 * @param names of connections that are gone
 * @param children of connections that stay, with the connection's name before each
 */
export async function takeDown(
  connection: ViciConnection,
  names: readonly string[],
  children: readonly (readonly [connection: string, child: string])[],
  log: Logger,
): Promise<void> {
  await Promise.all(children.map(([ike, child]) => terminate(connection, { ike, child })));
  const matches = await Promise.all(names.map((ike) => terminate(connection, { ike })));
  let left = names.filter((_, i) => matches[i] > 0);
  const until = performance.now() + GRACE;
  while (left.length > 0) {
    left = await living(connection, left);
    if (left.length === 0 || performance.now() > until) break;
    await sleep(LOOK);
  }
  for (const ike of left) {
    await terminate(connection, { ike, force: "yes" });
    log.info(`connection "${ike}" was removed, and its peer did not answer: its SAs are gone on this side`);
  }
}
