// Configurations as the model has them when they are checked, with what IKE does not look at left out of sight.

import type { Authentication, Child, Configuration, Connection } from "../../src/config/configuration.js";
import { ikeProposals } from "../../src/lab/sites.js";

export type IkeParts = Partial<Pick<Configuration, "connection" | "pool" | "secret" | "authority">>;

export function configuration(vici: string, parts: IkeParts): Configuration {
  return {
    node: "ike",
    "public-interface": [],
    "private-interface": [],
    workers: 1,
    "worker-cpu": [],
    engine: "auto",
    "busy-poll": false,
    "route-table": 221,
    "transport-route-table": 223,
    limits: { "orphan-seconds": 180, sas: 2, policies: 2, frames: 1024 },
    "data-plane": false,
    route: [],
    "inbound-sa": [],
    "outbound-sa": [],
    "security-policy": [],
    charon: { vici },
    connection: [],
    pool: [],
    secret: [],
    authority: [],
    restconf: {},
    ...parts,
  };
}

export function child(id: string, more: Partial<Child>): Child {
  return {
    id,
    "local-ts": [],
    "remote-ts": [],
    "esp-proposal": ["aes128gcm16-x25519-esn"],
    mode: "tunnel",
    "start-action": "none",
    "close-action": "none",
    "dpd-action": "clear",
    ...more,
  };
}

export function authentication(auth: Authentication["auth"], more: Partial<Authentication> = {}) {
  return { auth, certificate: [], "public-key": [], ...more };
}

export function connection(
  id: string,
  ends: {
    local: Connection["local"];
    remote: Omit<Connection["remote"], "ca-certificate"> & { "ca-certificate"?: string[] };
  },
  more: Partial<Connection> & Pick<Connection, "child">,
): Connection {
  return {
    id,
    "local-address": [],
    "remote-address": [],
    proposal: [ikeProposals],
    local: ends.local,
    remote: { "ca-certificate": [], ...ends.remote },
    "virtual-ip": [],
    pool: [],
    encapsulation: false,
    mobike: false,
    ...more,
  };
}
