// ChaCha20-Poly1305 and AES-CBC with an HMAC, beside AES-GCM, which encapsulate.ts and decapsulate.ts know themselves: for
// packets of SAs with the other ciphers they call what is here, once they have found out, which they do once a run. A batch
// may have packets of all of them; each kind of cipher counts its own.

import { swap32 } from "../net/byte-order.js";
import type { AeadBatch, Batches, CbcBatch } from "./aead.js";
import {
  AEAD_HEADER,
  AEAD_ICV_BYTES,
  AEAD_TRAILER,
  CBC_HEADER,
  CBC_TRAILER,
  frameAead,
  frameCbc,
  icvBytes,
} from "./esp-format.js";
import type { Sad } from "./sad.js";
import { SaFlag, saSlot } from "./sad-layout.js";

/** Flags of SAs with one of these ciphers. */
export const OTHER_CIPHERS = SaFlag.cbc | SaFlag.chacha20;

const { extendedSequenceNumbers: EXTENDED, cbc: CBC } = SaFlag;
const at = saSlot.at;
const FLAGS = at.flags >>> 2;
const SPI = at.spi >>> 2;
const KEY_LENGTH = at.keyLength >>> 2;
const SALT = at.salt >>> 2;
const icvBytesOf = icvBytes;
const swapWord = swap32;
const framePlain = frameAead;
const frameBlocks = frameCbc;
const HEADER_AEAD = AEAD_HEADER;
const HEADER_CBC = CBC_HEADER;
const TRAILER_AEAD = AEAD_TRAILER;
const TRAILER_CBC = CBC_TRAILER;
const ICV_AEAD = AEAD_ICV_BYTES;

/** What both directions have: the SA of the run, and how many packets each cipher has got. */
class OtherCiphers {
  protected readonly words: Uint32Array;
  protected readonly chacha20: AeadBatch;
  protected readonly cbc: CbcBatch;
  protected chacha20Count = 0;
  protected cbcCount = 0;
  protected isCbc = false;
  protected spi = 0;
  /** Bytes of ESP header and IV, and of the ICV. */
  headerLength = 0;
  icvLength = 0;

  constructor(sad: Sad, batches: Batches) {
    this.words = sad.words;
    this.chacha20 = batches.chacha20;
    this.cbc = batches.cbc;
  }

  /** The packets to come belong to the SA whose slot is at `offset`. */
  open(offset: number): void {
    const { words } = this;
    const slot = offset >>> 2;
    const flags = words[slot + FLAGS] | 0;
    const isCbc = (flags & CBC) !== 0;
    const spi = words[slot + SPI] | 0;
    this.isCbc = isCbc;
    this.spi = spi;
    this.headerLength = isCbc ? HEADER_CBC : HEADER_AEAD;
    this.icvLength = isCbc ? icvBytesOf(words, slot) : ICV_AEAD;
    if (isCbc) this.cbc.open(offset);
    else
      this.chacha20.open(offset, words[slot + KEY_LENGTH] | 0, words[slot + SALT] | 0, spi, flags & EXTENDED);
  }

  /** Encrypts or decrypts what was set up. */
  run(): void {
    const { chacha20Count, cbcCount } = this;
    this.chacha20Count = 0;
    this.cbcCount = 0;
    if (chacha20Count !== 0) this.chacha20.run(chacha20Count);
    if (cbcCount !== 0) this.cbc.run(cbcCount);
  }
}

export class OtherEncryption extends OtherCiphers {
  private readonly view: DataView;

  constructor(view: DataView, sad: Sad, batches: Batches) {
    super(sad, batches);
    this.view = view;
  }

  /** The most bytes that stand behind a packet of the SA. */
  get tailLength(): number {
    return (this.isCbc ? TRAILER_CBC : TRAILER_AEAD) + this.icvLength;
  }

  /**
   * Puts ESP around the `length` bytes at `start`, and sets the packet up for encryption.
   * @returns bytes of the text: those, and the trailer
   */
  frame(start: number, length: number, nextHeader: number, high: number, low: number): number {
    const { view, spi } = this;
    if (this.isCbc) {
      const text = frameBlocks(view, start, length, nextHeader, spi, high, low);
      this.cbc.set(this.cbcCount++, start - HEADER_CBC, text, high);
      return text;
    }
    const text = framePlain(view, start, length, nextHeader, spi, high, low);
    this.chacha20.turn(high);
    this.chacha20.encrypt(this.chacha20Count++, swapWord(low), start, text);
    return text;
  }
}

export class OtherDecryption extends OtherCiphers {
  private readonly view: DataView;
  /** Packets of the batch that were set up with these ciphers. */
  count = 0;
  // How many of the last batch were asked for: of each cipher, and of both.
  private chacha20Asked = 0;
  private cbcAsked = 0;
  asked = 0;

  constructor(view: DataView, sad: Sad, batches: Batches) {
    super(sad, batches);
    this.view = view;
  }

  /** Can a text of the SA have this length? The shortest one is pad length and next header, and the padding in front. */
  isText(length: number): boolean {
    const odd = this.isCbc ? 15 : 3;
    return length > odd && (length & odd) === 0;
  }

  /** Sets up the packet whose ESP header is at `esp`, with so many bytes of text. */
  set(esp: number, text: number, high: number, low: number): void {
    this.count++;
    if (this.isCbc) this.cbc.set(this.cbcCount++, esp, text, high);
    else {
      const ivHigh = this.view.getInt32(esp + 8, true);
      const ivLow = this.view.getInt32(esp + 12, true);
      this.chacha20.turn(high);
      this.chacha20.decrypt(this.chacha20Count++, ivHigh, ivLow, swapWord(low), esp + HEADER_AEAD, text);
    }
  }

  override run(): void {
    super.run();
    this.count = 0;
    this.chacha20Asked = 0;
    this.cbcAsked = 0;
    this.asked = 0;
  }

  /**
   * Is the next packet of the last batch authentic? They are asked for in the order in which they were set up; the SA of this
   * one is open.
   * @param icv where its ICV is
   */
  authentic(icv: number): boolean {
    this.asked++;
    if (this.isCbc) return this.cbc.authentic(this.cbcAsked++, icv);
    return this.chacha20.authentic(this.chacha20Asked++, icv);
  }
}
