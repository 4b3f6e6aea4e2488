// What an SA must be for Vita to carry it, and how it is written into a slot of the SAD.

import type { AddSaRequest, Limit } from "./kernel.js";
import { writeEndPoints } from "./outer-header.js";
import { beginReplay, replayMask } from "./replay.js";
import type { Sad } from "./sad.js";
import {
  INLINE_RING_BITS,
  INLINE_SELECTORS,
  MAX_REPLAY_WINDOW,
  MAX_SELECTORS,
  MAX_SELECTORS_BESIDE_RING,
  REPLAY_RING_BITS,
  SaFlag,
  SELECTOR_SIZE,
  SMALL_RING_BITS,
  saExtension,
  saSlot,
} from "./sad-layout.js";
import { hasTransport, writeSelector } from "./selectors.js";
import { beginSequence } from "./sequence.js";
import { ENCR_AES_CBC, ENCR_CHACHA20_POLY1305, refuseTransforms, SALT_BYTES } from "./transforms.js";

const at = saSlot.at;
const ESP = 50;
export const MODE_TRANSPORT = 1;
const MODE_TUNNEL = 2;
/** Why there is no transport mode without a host that it could be for. */
const NO_HOST =
  'transport mode protects this host\'s own traffic, which Vita sees through a TUN device only: add { "name": "vita0", "driver": "tun" } to /private-interface';
const ONLY_ESP = "AH is not supported: use esp_proposals, not ah_proposals";

/** Why a policy or an SA cannot be bound to an interface; undefined when it can, or is not bound. */
export function refuseInterface(name: string, interfaces: readonly string[]): string | undefined {
  if (name === "" || interfaces.includes(name)) return undefined;
  return `interface = ${name} is not supported: policies can be bound to a public interface of this node only (${interfaces.join(", ")})`;
}

/** Why no SPI is reserved for SAs of a protocol; undefined for ESP. */
export function refuseProtocol(protocol: number): string | undefined {
  return protocol === ESP ? undefined : ONLY_ESP;
}

/**
 * Why the SA cannot be installed, in one line for charon's log; undefined when it can. Never tells key material.
 * @param hasHost whether the traffic of this host itself comes to Vita
 */
export function refuseSa(request: AddSaRequest, hasHost: boolean): string | undefined {
  const { id, srcSelectors, dstSelectors } = request;
  if (id.protocol !== ESP) return ONLY_ESP;
  const modeRefusal = refuseMode(request.mode, hasHost);
  if (modeRefusal) return modeRefusal;
  const transformRefusal = refuseTransforms(request);
  if (transformRefusal) return transformRefusal;
  if (request.ipcomp !== 0) return "IPComp is not supported: set ipcomp = no";
  if (id.src.address.length !== id.dst.address.length)
    return "tunnel end points are of unlike address families";
  if (id.spi < 0x100) return `SPI ${id.spi} is reserved (RFC 4303 §2.1)`;
  if (request.labelled) return "SELinux labels are not supported";
  if (request.hardwareOffload !== "no" && request.hardwareOffload !== "auto")
    return "hardware offload is not supported: set hw_offload to no or auto";
  if (request.replayWindow > MAX_REPLAY_WINDOW)
    return `replay_window ${request.replayWindow} is too large: set it to ${MAX_REPLAY_WINDOW} or less`;
  if (srcSelectors.length === 0 || dstSelectors.length === 0) return "an SA without traffic selectors";
  const room = ringBits(request) > INLINE_RING_BITS ? MAX_SELECTORS_BESIDE_RING : MAX_SELECTORS;
  if (srcSelectors.length + dstSelectors.length > room)
    return `${srcSelectors.length + dstSelectors.length} traffic selectors, an SA has room for ${room}`;
  return undefined;
}

/** Why a mode is not for us. */
export function refuseMode(mode: number, hasHost: boolean): string | undefined {
  if (mode === MODE_TRANSPORT) return hasHost ? undefined : NO_HOST;
  return mode === MODE_TUNNEL ? undefined : `mode ${mode} is not supported: use mode = tunnel or transport`;
}

export interface Installation {
  session: bigint;
  /** CLOCK_MONOTONIC, seconds. */
  now: number;
  /** Counts installations. */
  order: number;
  /** Slot for what `needsExtension` said has no room, -1 for none. */
  extension: number;
}

/** Has the SA no room in one slot? */
export function needsExtension(request: AddSaRequest): boolean {
  return (
    request.srcSelectors.length + request.dstSelectors.length > INLINE_SELECTORS ||
    ringBits(request) > INLINE_RING_BITS
  );
}

/** Bits of the replay bitmap. */
function ringBits({ inbound, replayWindow }: AddSaRequest): number {
  return inbound ? 32 * (replayMask(replayWindow) + 1) : 0;
}

/** Where in the file the replay bitmap is. @param more where the extension is */
function ringAt(request: AddSaRequest, base: number, more: number): number {
  const bits = ringBits(request);
  if (bits <= SMALL_RING_BITS) return base + at.smallRing;
  return bits <= INLINE_RING_BITS ? base + at.ring : more + saExtension.at.content;
}

/** Fills a slot that no worker uses. The caller expands the key and publishes the slot. */
export function fillSlot(
  sad: Sad,
  slot: number,
  request: AddSaRequest,
  { session, now, order, extension }: Installation,
): void {
  const base = sad.offset(slot);
  const more = extension < 0 ? 0 : sad.offset(extension);
  const { view, words } = sad;
  const { bytes } = sad.region;
  const set = (field: number, value: number) => {
    words[(base + field) >>> 2] = value;
  };
  const { id, encryptionKey, srcSelectors, dstSelectors, lifetime } = request;
  const selectors = [...srcSelectors, ...dstSelectors];
  const limits = [lifetime.time, lifetime.bytes, lifetime.packets];
  const isCbc = request.encryption === ENCR_AES_CBC;
  const keyLength = encryptionKey.length - (isCbc ? 0 : SALT_BYTES);
  set(at.spi, id.spi);
  set(at.extension, extension + 1);
  set(at.flags, saFlags(request));
  writeEndPoints(sad, slot, id.src, id.dst, request.udpEncapsulation);
  bytes.set(encryptionKey.subarray(0, keyLength), base + at.key);
  bytes.set(request.integrityKey, base + at.integrityKey);
  set(at.keyLength, keyLength);
  set(
    at.salt,
    encryptionKey.subarray(keyLength).reduce((salt, byte) => ((salt << 8) | byte) >>> 0, 0),
  );
  set(at.replayWindow, request.inbound ? request.replayWindow : 0);
  set(at.replayMask, request.inbound ? replayMask(request.replayWindow) : 0);
  set(at.ringAt, ringAt(request, base, more) >>> 2);
  set(at.encryption, request.encryption);
  set(at.integrity, request.integrity);
  set(at.protocol, id.protocol);
  set(at.mode, request.mode);
  set(at.reqid, request.reqid);
  set(at.markValue, id.mark.value);
  set(at.markMask, id.mark.mask);
  set(at.interfaceId, id.interfaceId);
  set(at.setMarkValue, request.setMark.value);
  set(at.setMarkMask, request.setMark.mask);
  set(at.tfc, request.tfc);
  set(at.added, now);
  view.setBigUint64(base + at.session, session, true);
  view.setFloat64(base + at.order, order, true);
  limits.forEach(({ rekey, life }: Limit, i) => {
    view.setFloat64(base + at.limits + 16 * i, Number(rekey), true);
    view.setFloat64(base + at.limits + 16 * i + 8, Number(life), true);
  });
  const behindRing = ringBits(request) > INLINE_RING_BITS ? REPLAY_RING_BITS / 8 : 0;
  const selectorsAt =
    selectors.length > INLINE_SELECTORS ? more + saExtension.at.content + behindRing : base + at.selectors;
  set(at.selectorCounts, srcSelectors.length | (dstSelectors.length << 16));
  set(at.selectorsAt, selectorsAt >>> 2);
  selectors.forEach((selector, i) => {
    writeSelector(sad.region, selectorsAt + i * SELECTOR_SIZE, selector);
  });
  const { sequence } = request;
  if (sequence && request.inbound) beginReplay(words, base >>> 2, sequence.last);
  else if (sequence) {
    beginSequence(words, base >>> 2, sequence.last);
    set(at.ceiling, sequence.ceiling);
  }
}

/** What a request says of the SA's flags; those of its end points come with them. */
export function saFlags(request: AddSaRequest): number {
  const { id, lifetime } = request;
  const { time, bytes, packets } = lifetime;
  return (
    (request.inbound ? SaFlag.inbound : 0) |
    (request.mode === MODE_TRANSPORT ? SaFlag.transport : 0) |
    (!request.inbound || id.mark.mask !== 0 || request.hasKnownMark ? SaFlag.markKnown : 0) |
    (request.extendedSequenceNumbers ? SaFlag.extendedSequenceNumbers : 0) |
    (request.encryption === ENCR_AES_CBC ? SaFlag.cbc : 0) |
    (request.encryption === ENCR_CHACHA20_POLY1305 ? SaFlag.chacha20 : 0) |
    (request.copyDf ? SaFlag.copyDf : 0) |
    (request.copyEcn ? SaFlag.copyEcn : 0) |
    (request.copyDscp === 0 || request.copyDscp === 2 ? SaFlag.copyDscpOut : 0) |
    (request.copyDscp === 1 || request.copyDscp === 2 ? SaFlag.copyDscpIn : 0) |
    ([...request.srcSelectors, ...request.dstSelectors].some(hasTransport) ? SaFlag.transportSelectors : 0) |
    (time.life !== 0n || (request.sequence?.ceiling ?? 0) !== 0 ? SaFlag.timeLimit : 0) |
    (bytes.life !== 0n || packets.life !== 0n ? SaFlag.volumeLimit : 0)
  );
}
