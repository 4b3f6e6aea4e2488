// An SA of the SAD as the request that installed it: the inverse of `fillSlot`, keys included. It never leaves the process.

import type { AddSaRequest, Limit } from "./kernel.js";
import { readEndPoints } from "./outer-header.js";
import { saIdentity } from "./sa-identity.js";
import type { Sad } from "./sad.js";
import { SaFlag, SELECTOR_SIZE, saSlot } from "./sad-layout.js";
import { readSelector } from "./selectors.js";
import { ENCR_AES_CBC, hmacKeyBytes } from "./transforms.js";

const at = saSlot.at;

/** @returns what the slot knows of it; where sequence numbers stand is left out */
export function readSa(sad: Sad, slot: number): AddSaRequest {
  const base = sad.offset(slot);
  const { bytes } = sad.region;
  const word = (field: number) => sad.words[(base + field) >>> 2];
  const flag = (bit: number) => (word(at.flags) & bit) !== 0;
  const limit = (i: number): Limit => ({
    rekey: BigInt(sad.view.getFloat64(base + at.limits + 16 * i, true)),
    life: BigInt(sad.view.getFloat64(base + at.limits + 16 * i + 8, true)),
  });
  const selectors = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) =>
      readSelector(sad.region, 4 * word(at.selectorsAt) + (from + i) * SELECTOR_SIZE),
    );
  const counts = word(at.selectorCounts);
  const encryption = word(at.encryption);
  const integrity = word(at.integrity);
  const key = bytes.slice(base + at.key, base + at.key + word(at.keyLength));
  const salt = Buffer.alloc(4);
  salt.writeUInt32BE(word(at.salt));
  return {
    id: {
      ...readEndPoints(sad, slot),
      spi: word(at.spi),
      protocol: word(at.protocol),
      ...saIdentity(sad, slot),
    },
    inbound: flag(SaFlag.inbound),
    update: false,
    initiator: true,
    reqid: word(at.reqid),
    mode: word(at.mode),
    srcSelectors: selectors(0, counts & 0xffff),
    dstSelectors: selectors(counts & 0xffff, counts >>> 16),
    encryption,
    encryptionKey: encryption === ENCR_AES_CBC ? key : Uint8Array.from([...key, ...salt]),
    integrity,
    integrityKey: bytes.slice(
      base + at.integrityKey,
      base + at.integrityKey + (encryption === ENCR_AES_CBC ? hmacKeyBytes[integrity] : 0),
    ),
    extendedSequenceNumbers: flag(SaFlag.extendedSequenceNumbers),
    replayWindow: word(at.replayWindow),
    udpEncapsulation: flag(SaFlag.udpEncapsulation),
    lifetime: { time: limit(0), bytes: limit(1), packets: limit(2) },
    tfc: word(at.tfc),
    ipcomp: 0,
    cpi: 0,
    copyDf: flag(SaFlag.copyDf),
    copyEcn: flag(SaFlag.copyEcn),
    copyDscp: flag(SaFlag.copyDscpOut) ? (flag(SaFlag.copyDscpIn) ? 2 : 0) : flag(SaFlag.copyDscpIn) ? 1 : 3,
    hardwareOffload: "no",
    setMark: { value: word(at.setMarkValue), mask: word(at.setMarkMask) },
    interface: "",
    labelled: false,
    hasKnownMark: flag(SaFlag.markKnown),
  };
}
