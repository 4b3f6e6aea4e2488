// What the ESP apps ask of a crypto engine: AES-GCM with a 16-byte ICV over a batch of packets, in place (RFC 4106).
//
// A batch goes `begin(n)`, then `set` for each of its packets from 0 to n - 1, then `run`. Offsets are bytes in
// the frames' region, key offsets bytes in the SAD's. Engines keep their own scratch memory; a batch allocates nothing
// in the fast engine.

/** Packets of one batch at most. */
export const MAX_BATCH = 128;

export interface AeadEngine {
  /** `engine` in the SAD's header: 1 libIPSec_MB, 2 node:crypto. */
  readonly id: number;
  readonly name: string;
  /** Expands the key in a slot into the slot's schedule. */
  expandKey(slotOffset: number, keyLength: number): void;
  encryptor(): AeadBatch;
  decryptor(): AeadBatch;
  close(): void;
}

export interface AeadBatch {
  /** Opens a batch of at most `count` packets (1 to MAX_BATCH). */
  begin(count: number): void;
  /**
   * Packet number `i`.
   * @param slot byte offset of the SA's slot in the SAD
   * @param salt, ivHigh, ivLow the nonce's three words as big-endian numbers (RFC 4106 §4)
   * @param spi, high, low the additional data: SPI and sequence number; `high` is left out when `extended` is 0
   * @param text byte offset of the text in the frames' region; the ICV stands, or will stand, right behind it
   * @param length bytes of text
   */
  set(
    i: number,
    slot: number,
    keyLength: number,
    salt: number,
    ivHigh: number,
    ivLow: number,
    spi: number,
    extended: number,
    high: number,
    low: number,
    text: number,
    length: number,
  ): void;
  /** Encrypts (or decrypts) packets 0 to `count` - 1 of the batch. */
  run(count: number): void;
  /** Decryption: did packet `i` carry the right ICV? Compared in constant time. */
  authentic(i: number): boolean;
}
