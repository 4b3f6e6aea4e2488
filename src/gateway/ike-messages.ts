// From the model to vici: what charon is told of a connection, a pool, a secret and an authority. Names on the left are
// those of vici (and swanctl.conf) of strongSwan 5.9.8 and later; docs/ike.md has the same as tables.
//
// What the model leaves out is left out here, and charon has its own default.

import { isIP } from "node:net";
import type { ViciFields } from "../charon/vici-message.js";
import type { Authentication, Child, Connection, Pool, Secret } from "../config/configuration.js";
import { entryPath, IkeError } from "./ike-error.js";
import type { IkeFiles } from "./ike-files.js";

const yesNo = (value: boolean) => (value ? "yes" : "no");
const decimal = (value: number | undefined) => (value === undefined ? undefined : String(value));
const seconds = decimal;
/** charon takes an empty list for one with nothing in it, which is not the same as its default. */
const list = <T>(values: readonly T[]) => (values.length === 0 ? undefined : values);

/** charon reads numbers from 15 characters and cuts off the rest: this is the largest that hexadecimal digits can say. */
const COUNT_MAX = 2n ** 52n - 1n;

/** A count of packets. So many that charon could not read the number are as good as the most it can read. */
function packets(value: string | undefined): string | undefined {
  if (value === undefined || value.length <= 15) return value;
  const count = BigInt(value);
  return `0x${(count < COUNT_MAX ? count : COUNT_MAX).toString(16)}`;
}

/** A count of bytes; where the number is too long for charon, in gibibytes, rounded down. */
function bytes(value: string | undefined): string | undefined {
  if (value === undefined || value.length <= 15) return value;
  const count = BigInt(value);
  return count <= COUNT_MAX ? `0x${count.toString(16)}` : `${count >> 30n}g`;
}

const startActions: Record<Child["start-action"], string> = {
  none: "none",
  trap: "trap",
  start: "start",
  "trap-start": "trap|start",
};

function childFields(child: Child): ViciFields {
  return {
    local_ts: list(child["local-ts"]),
    remote_ts: list(child["remote-ts"]),
    esp_proposals: list(child["esp-proposal"]),
    mode: child.mode,
    start_action: startActions[child["start-action"]],
    close_action: child["close-action"],
    dpd_action: child["dpd-action"],
    rekey_time: seconds(child["rekey-time"]),
    life_time: seconds(child["life-time"]),
    rand_time: seconds(child["rand-time"]),
    rekey_bytes: bytes(child["rekey-bytes"]),
    life_bytes: bytes(child["life-bytes"]),
    rekey_packets: packets(child["rekey-packets"]),
    life_packets: packets(child["life-packets"]),
    replay_window: decimal(child["replay-window"]),
    reqid: decimal(child.reqid),
    priority: decimal(child.priority),
    mark_in: child["mark-in"],
    mark_out: child["mark-out"],
    if_id_in: decimal(child["if-id-in"]),
    if_id_out: decimal(child["if-id-out"]),
  };
}

/** The first certificate of each file is the one that is meant; what follows it is its chain. */
function authenticationFields(path: string, end: Authentication, files: IkeFiles): ViciFields {
  const certificates = end.certificate.map((file) => files.certificates(`${path}/certificate`, file)[0]);
  return {
    auth: end.auth,
    id: end.id,
    eap_id: end["eap-id"],
    certs: list(certificates),
    pubkeys: list(end["public-key"].map((file) => files.publicKey(`${path}/public-key`, file))),
  };
}

/**
 * The message of `load-conn`.
 * @throws IkeError about a file
 */
export function connectionFields(connection: Connection, files: IkeFiles): ViciFields {
  const path = entryPath("connection", connection.id);
  const authorities = connection.remote["ca-certificate"].flatMap((file) =>
    files.authorities(`${path}/remote/ca-certificate`, file),
  );
  const fields: ViciFields = {
    version: "2",
    local_addrs: list(connection["local-address"]),
    remote_addrs: list(connection["remote-address"]),
    local_port: decimal(connection["local-port"]),
    remote_port: decimal(connection["remote-port"]),
    proposals: list(connection.proposal),
    vips: list(connection["virtual-ip"]),
    pools: list(connection.pool),
    encap: yesNo(connection.encapsulation),
    mobike: yesNo(connection.mobike),
    dpd_delay: seconds(connection["dpd-delay"]),
    rekey_time: seconds(connection["rekey-time"]),
    reauth_time: seconds(connection["reauth-time"]),
    over_time: seconds(connection["over-time"]),
    keyingtries: decimal(connection.keyingtries),
    unique: connection.unique,
    fragmentation: connection.fragmentation,
    send_cert: connection["send-certificate"],
    if_id_in: decimal(connection["if-id-in"]),
    if_id_out: decimal(connection["if-id-out"]),
    local: authenticationFields(`${path}/local`, connection.local, files),
    remote: {
      ...authenticationFields(`${path}/remote`, connection.remote, files),
      cacerts: list(authorities),
    },
    children: Object.fromEntries(connection.child.map((child) => [child.id, childFields(child)])),
  };
  return { [connection.id]: fields };
}

/**
 * The certificates that charon needs besides the end's own to show who has signed it: all but the first of each file.
 * @throws IkeError about a file
 */
export function chainOf(connection: Connection, files: IkeFiles): Buffer[] {
  const path = `${entryPath("connection", connection.id)}/local/certificate`;
  return connection.local.certificate.flatMap((file) => files.certificates(path, file).slice(1));
}

/**
 * A secret as bytes: text, or hexadecimal digits behind `0x`, or Base64 behind `0s`, as swanctl.conf has them.
 * @throws IkeError, without the secret
 */
export function secretBytes(path: string, text: string): Buffer {
  const form = text.slice(0, 2).toLowerCase();
  const digits = text.slice(2);
  if (form === "0x") {
    if (!/^([0-9a-fA-F]{2})+$/.test(digits))
      throw new IkeError(path, "is not pairs of hexadecimal digits behind 0x");
    return Buffer.from(digits, "hex");
  }
  if (form === "0s") {
    if (!/^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}(==)?|[A-Za-z0-9+/]{3}=?)?$/.test(digits) || digits === "") {
      throw new IkeError(path, "is not Base64 behind 0s");
    }
    return Buffer.from(digits, "base64");
  }
  return Buffer.from(text, "utf8");
}

const addresses = (values: readonly string[]) => values.filter((value) => isIP(value) !== 0);

/**
 * Whose a connection's pre-shared key is. charon takes the secret whose owners match the two identities best. Who has no
 * identity in the configuration goes by his address, and a peer that may be anybody is anybody.
 */
function ownersOf(connection: Connection): string[] {
  const { local, remote } = connection;
  const own = local.id === undefined ? addresses(connection["local-address"]) : [local.id];
  const peer = remote.id === undefined ? [...addresses(connection["remote-address"]), "%any"] : [remote.id];
  return [...new Set([...own, ...peer])];
}

/** Names of secrets in charon, by which they can be unloaded. No id has a slash, so that these two cannot be the same. */
const OWN_SECRET = "vita/";
export const connectionSecretName = (id: string) => `${OWN_SECRET}connection/${id}`;
export const secretName = (id: string) => `${OWN_SECRET}secret/${id}`;

/** The message of `load-shared` for a connection's pre-shared key; undefined when it has none. */
export function preSharedKeyFields(connection: Connection): ViciFields | undefined {
  const secret = connection["pre-shared-key"];
  if (secret === undefined) return undefined;
  const path = `${entryPath("connection", connection.id)}/pre-shared-key`;
  return {
    id: connectionSecretName(connection.id),
    type: "IKE",
    data: secretBytes(path, secret),
    owners: ownersOf(connection),
  };
}

/** The message of `load-shared`. */
export function secretFields(secret: Secret): ViciFields {
  return {
    id: secretName(secret.id),
    type: secret.type === "eap" ? "EAP" : "IKE",
    data: secretBytes(`${entryPath("secret", secret.id)}/data`, secret.data),
    owners: list(secret.identity),
  };
}

/** The message of `load-pool`. */
export function poolFields(pool: Pool): ViciFields {
  return { [pool.id]: { addrs: pool.addresses, dns: list(pool.dns) } };
}

/**
 * The message of `load-authority`.
 * @throws IkeError about the file
 */
export function authorityFields(
  authority: { id: string; "ca-certificate": string },
  files: IkeFiles,
): ViciFields {
  const path = `${entryPath("authority", authority.id)}/ca-certificate`;
  const [certificate] = files.authorities(path, authority["ca-certificate"]);
  return { [authority.id]: { cacert: certificate } };
}
