// What ESP puts around a packet, and how much of it, which depends on the cipher (RFC 4303 §2):
//
//   SPI, sequence number | IV | text: packet … padding 1 2 3 … pad length, next header | ICV
//
// AES-GCM and ChaCha20-Poly1305 have an IV of 8 bytes, a text of a multiple of 4, and an ICV of 16. AES-CBC has an IV of 16,
// a text of whole blocks of 16, and the ICV of its HMAC.

import { SaFlag, saSlot } from "./sad-layout.js";
import { hmacIcvBytes } from "./transforms.js";

const ESP = 8;
const AEAD_IV = 8;
const AEAD_ICV = 16;
const CBC_IV = 16;

export const AEAD_HEADER = ESP + AEAD_IV;
export const AEAD_ICV_BYTES = AEAD_ICV;
export const CBC_HEADER = ESP + CBC_IV;

/** The most bytes that are written behind a packet before its ICV is: padding, pad length and next header. */
export const AEAD_TRAILER = 3 + 2;
export const CBC_TRAILER = 15 + 2;

const { cbc: CBC, transport: TRANSPORT } = SaFlag;
const icvBytesOf = hmacIcvBytes;
const FLAGS = saSlot.at.flags >>> 2;
const OUTER_LENGTH = saSlot.at.outerLength >>> 2;
const INTEGRITY = saSlot.at.integrity >>> 2;

/** Bytes of the ICV of the SA whose slot begins at this word. */
export function icvBytes(words: Uint32Array, slot: number): number {
  return (words[slot + FLAGS] & CBC) !== 0 ? icvBytesOf[words[slot + INTEGRITY]] : AEAD_ICV;
}

/**
 * The largest inner packet of which the ESP packet with its outer header, IP and UDP, fits into `mtu` bytes.
 * @param slot number of the word in `words` where the SA's slot begins
 */
export function innerMtu(mtu: number, words: Uint32Array, slot: number): number {
  const room = mtu - words[slot + OUTER_LENGTH] - icvBytes(words, slot);
  const flags = words[slot + FLAGS];
  if ((flags & CBC) === 0) return ((room - (ESP + AEAD_IV)) & ~3) - 2;
  const text = room - (ESP + CBC_IV);
  // In transport mode the text begins behind the packet's header, whose length, a multiple of 4, is not known here. Whichever
  // it is, not more than 12 bytes of padding are needed for its sake.
  return (flags & TRANSPORT) !== 0 ? (text & ~3) - 14 : (text & ~15) - 2;
}

/**
 * Puts what AES-CBC wants around the `length` bytes at `start`: padding, pad length and next header behind them; in front of
 * them SPI, sequence number, and in the IV's place the number that it is made of (see CbcBatch).
 * @returns bytes of the text
 */
export function frameCbc(
  view: DataView,
  start: number,
  length: number,
  nextHeader: number,
  spi: number,
  high: number,
  low: number,
): number {
  const tail = start + length;
  const pad = (14 - length) & 15;
  // What of the fifteen is too much is written over by what follows.
  view.setInt32(tail, 0x01020304);
  view.setInt32(tail + 4, 0x05060708);
  view.setInt32(tail + 8, 0x090a0b0c);
  view.setInt32(tail + 12, 0x0d0e0f00);
  view.setInt16(tail + pad, (pad << 8) | nextHeader);
  const esp = start - (ESP + CBC_IV);
  view.setInt32(esp, spi);
  view.setInt32(esp + 4, low);
  view.setInt32(esp + 8, 0);
  view.setInt32(esp + 12, 0);
  view.setInt32(esp + 16, high);
  view.setInt32(esp + 20, low);
  return length + pad + 2;
}

/** The same for AEADs, whose IV is the sequence number, which is unique for the key (RFC 4106 §3.1, RFC 7634 §2). */
export function frameAead(
  view: DataView,
  start: number,
  length: number,
  nextHeader: number,
  spi: number,
  high: number,
  low: number,
): number {
  const tail = start + length;
  const pad = (2 - length) & 3;
  view.setInt32(tail, 0x01020300);
  view.setInt16(tail + pad, (pad << 8) | nextHeader);
  const esp = start - (ESP + AEAD_IV);
  view.setInt32(esp, spi);
  view.setInt32(esp + 4, low);
  view.setInt32(esp + 8, high);
  view.setInt32(esp + 12, low);
  return length + pad + 2;
}
