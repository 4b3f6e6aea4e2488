// A static SA of the configuration as the request that a key manager would make: the names of algorithms become IKEv2's
// transform numbers, and keys and salts the bytes that these want.

import { isDeepStrictEqual } from "node:util";
import type { Aead, InboundSa, StaticSa } from "../config/configuration.js";
import { entryAt } from "../config/tell.js";
import type { AddSaRequest, Host, Mark, Selector } from "../ipsec/kernel.js";
import { ENCR_AES_CBC, ENCR_AES_GCM_16, ENCR_CHACHA20_POLY1305, SALT_BYTES } from "../ipsec/transforms.js";
import { problem } from "./static-problem.js";

const ESP = 50;
const TUNNEL = 2;
const NO_INTEGRITY = 1024;
const NO_LIMIT = { rekey: 0n, life: 0n };

interface Suite {
  encryption: number;
  /** Bytes that the key can have. */
  keys: readonly number[];
  hasSalt: boolean;
  integrity: number;
  integrityKey: number;
}

const AES = [16, 24, 32];
const gcm = { encryption: ENCR_AES_GCM_16, hasSalt: true, integrity: NO_INTEGRITY, integrityKey: 0 };
const cbc = { encryption: ENCR_AES_CBC, keys: AES, hasSalt: false };

const suites: Record<Aead, Suite> = {
  "aes-gcm-16-icv": { ...gcm, keys: AES },
  "aes-256-gcm-16-icv": { ...gcm, keys: [32] },
  "chacha20-poly1305": { ...gcm, encryption: ENCR_CHACHA20_POLY1305, keys: [32] },
  "aes-cbc-hmac-sha2-256-128": { ...cbc, integrity: 12, integrityKey: 32 },
  "aes-cbc-hmac-sha2-384-192": { ...cbc, integrity: 13, integrityKey: 48 },
  "aes-cbc-hmac-sha2-512-256": { ...cbc, integrity: 14, integrityKey: 64 },
};

/** What an SA has of its route. */
export interface RouteParts {
  local: Host;
  gateway: Host;
  mark: Mark;
  interfaceId: number;
  reqid: number;
  localNets: Selector[];
  nets: Selector[];
}

/** Path of an SA in the configuration. */
export function saPath(inbound: boolean, spi: number): string {
  return entryAt(inbound ? "inbound-sa" : "outbound-sa", "spi", spi);
}

/**
 * @param sa from `/inbound-sa` or `/outbound-sa`
 * @throws ConfigurationError when key and algorithm do not go together
 */
export function saRequestOf(sa: StaticSa | InboundSa, inbound: boolean, route: RouteParts): AddSaRequest {
  const suite = suites[sa.aead];
  const { local, gateway, localNets, nets, mark, interfaceId, reqid } = route;
  const [src, dst] = inbound ? [gateway, local] : [local, gateway];
  const { encryption, integrity } = suite;
  return {
    id: { src, dst, spi: sa.spi, protocol: ESP, mark, interfaceId },
    inbound,
    update: false,
    initiator: true,
    reqid,
    mode: TUNNEL,
    srcSelectors: inbound ? nets : localNets,
    dstSelectors: inbound ? localNets : nets,
    encryption,
    encryptionKey: keyOf(sa, suite, saPath(inbound, sa.spi)),
    integrity,
    integrityKey: Buffer.from(sa["integrity-key"] ?? "", "hex"),
    extendedSequenceNumbers: sa.esn,
    replayWindow: "replay-window" in sa ? sa["replay-window"] : 0,
    udpEncapsulation: false,
    lifetime: { time: NO_LIMIT, bytes: NO_LIMIT, packets: NO_LIMIT },
    tfc: 0,
    ipcomp: 0,
    cpi: 0,
    copyDf: true,
    copyEcn: true,
    copyDscp: 0,
    hardwareOffload: "no",
    setMark: { value: 0, mask: 0 },
    interface: "",
    labelled: false,
    hasKnownMark: true,
  };
}

/** Key and salt, which must be what the algorithm wants. */
function keyOf(sa: StaticSa, suite: Suite, path: string): Uint8Array {
  const { aead, salt, "integrity-key": integrityKey } = sa;
  const bytes = (digits: string | undefined) => (digits ?? "").length / 2;
  if (!suite.keys.includes(bytes(sa.key)))
    throw problem(
      `${path}/key`,
      `has ${bytes(sa.key)} bytes, and ${aead} wants ${suite.keys.join(", ").replace(/, (\d+)$/, " or $1")}`,
    );
  if (suite.hasSalt && bytes(salt) !== SALT_BYTES)
    throw problem(`${path}/salt`, salt === undefined ? `is missing: ${aead} has one` : "must have 4 bytes");
  if (!suite.hasSalt && salt !== undefined) throw problem(`${path}/salt`, `has no use: ${aead} has no salt`);
  if (bytes(integrityKey) !== suite.integrityKey)
    throw problem(
      `${path}/integrity-key`,
      integrityKey === undefined
        ? `is missing: ${aead} wants one of ${suite.integrityKey} bytes`
        : `has ${bytes(integrityKey)} bytes, and ${aead} wants ${suite.integrityKey === 0 ? "none" : suite.integrityKey}`,
    );
  return Buffer.from(sa.key + (salt ?? ""), "hex");
}

/** Are the requests for the same SA with the same keys? Where sequence numbers begin does not matter. */
export function isSameSa(a: AddSaRequest, b: AddSaRequest): boolean {
  return isDeepStrictEqual(comparable(a), comparable(b));
}

function comparable({ sequence: _, encryptionKey, integrityKey, ...rest }: AddSaRequest): unknown {
  return {
    ...rest,
    encryptionKey: Uint8Array.from(encryptionKey),
    integrityKey: Uint8Array.from(integrityKey),
  };
}
