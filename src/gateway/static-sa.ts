// A static SA of the configuration as the request that a key manager would make: the names of algorithms become IKEv2's
// transform numbers, and keys and salts the bytes that these want.

import { isDeepStrictEqual } from "node:util";
import type { Aead, InboundSa, StaticSa } from "../config/configuration.js";
import { entryAt } from "../config/tell.js";
import type { AddSaRequest, Host, Mark, Selector } from "../ipsec/kernel.js";
import { ENCR_AES_CBC, ENCR_AES_GCM_16, ENCR_CHACHA20_POLY1305 } from "../ipsec/transforms.js";

const ESP = 50;
const TUNNEL = 2;
const NO_INTEGRITY = 1024;
const NO_LIMIT = { rekey: 0n, life: 0n };

/** Transform numbers of IKEv2 (RFC 7296, section 3.3.2). What keys go with them, config/sa-checks.ts knows. */
const transforms: Record<Aead, { encryption: number; integrity: number }> = {
  "aes-gcm-16-icv": { encryption: ENCR_AES_GCM_16, integrity: NO_INTEGRITY },
  "aes-256-gcm-16-icv": { encryption: ENCR_AES_GCM_16, integrity: NO_INTEGRITY },
  "chacha20-poly1305": { encryption: ENCR_CHACHA20_POLY1305, integrity: NO_INTEGRITY },
  "aes-cbc-hmac-sha2-256-128": { encryption: ENCR_AES_CBC, integrity: 12 },
  "aes-cbc-hmac-sha2-384-192": { encryption: ENCR_AES_CBC, integrity: 13 },
  "aes-cbc-hmac-sha2-512-256": { encryption: ENCR_AES_CBC, integrity: 14 },
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

/** @param sa from `/inbound-sa` or `/outbound-sa` of a configuration that has been checked */
export function saRequestOf(sa: StaticSa | InboundSa, inbound: boolean, route: RouteParts): AddSaRequest {
  const { encryption, integrity } = transforms[sa.aead];
  const { local, gateway, localNets, nets, mark, interfaceId, reqid } = route;
  const [src, dst] = inbound ? [gateway, local] : [local, gateway];
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
    encryptionKey: Buffer.from(sa.key + (sa.salt ?? ""), "hex"),
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
