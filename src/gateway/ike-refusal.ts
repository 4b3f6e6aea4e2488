// Which leaf charon means when it refuses something. It names the option ("invalid value for: esp_proposals, config
// discarded"), but neither the connection nor the child.

import type { Connection } from "../config/configuration.js";
import { entryPath, IkeError } from "./ike-error.js";
import type { IkeItem } from "./ike-items.js";

/** Leaves of a connection whose names are not those of vici with another hyphen. */
const connectionLeaves: Record<string, string> = {
  local_addrs: "local-address",
  remote_addrs: "remote-address",
  proposals: "proposal",
  vips: "virtual-ip",
  pools: "pool",
  encap: "encapsulation",
  send_cert: "send-certificate",
};
const authenticationLeaves: Record<string, string> = {
  auth: "auth",
  id: "id",
  eap_id: "eap-id",
  certs: "certificate",
  cacerts: "ca-certificate",
  pubkeys: "public-key",
};
const childLeaves: Record<string, string> = { esp_proposals: "esp-proposal" };

/** Has this leaf been set? Lists that are empty have not. */
function holds(parent: object, leaf: string): boolean {
  const value = (parent as Record<string, unknown>)[leaf];
  return value !== undefined && !(Array.isArray(value) && value.length === 0);
}

/** The one of several that has a leaf, or their common parent when it may be either. */
function only(candidates: { path: string; parent: object }[], leaf: string, common: string): string {
  const holding = candidates.filter(({ parent }) => holds(parent, leaf));
  return holding.length === 1 ? `${holding[0].path}/${leaf}` : common;
}

function leafPath(connection: Connection, option: string): string {
  const path = entryPath("connection", connection.id);
  const hyphened = option.replaceAll("_", "-");
  const authentication = authenticationLeaves[option];
  if (authentication !== undefined) {
    const ends = (["local", "remote"] as const).map((end) => ({
      path: `${path}/${end}`,
      parent: connection[end],
    }));
    return only(ends, authentication, path);
  }
  const leaf = connectionLeaves[option] ?? hyphened;
  if (holds(connection, leaf)) return `${path}/${leaf}`;
  const children = connection.child.map((child) => ({
    path: `${path}/child[id="${child.id}"]`,
    parent: child,
  }));
  return only(children, childLeaves[option] ?? hyphened, path);
}

/** An item that charon refused, as an error about the leaf, with charon's words. */
export function refusalOf(item: IkeItem, source: string | undefined, words: string): IkeError {
  const [, option] = /^invalid value for: ([a-z_]+),/.exec(words) ?? [];
  if (item.kind !== "connection" || option === undefined || source === undefined) {
    return new IkeError(item.path, `charon refuses it: ${words}`);
  }
  const connection = JSON.parse(source) as Connection;
  return new IkeError(leafPath(connection, option), `charon refuses it: ${words}`);
}
