// What the ESP apps ask of a crypto engine: AES-GCM with a 16-byte ICV over a batch of packets, in place (RFC 4106).
//
// A batch goes: `encrypt` or `decrypt` for each of its packets from 0 to n - 1, with `open` in front of each run of packets of the same SA,
// then `run`. Offsets are bytes in the frames' region, key offsets bytes in the SAD's. Engines keep their own scratch
// memory; a batch allocates nothing in the fast engine.

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
  /**
   * Begins a run: the packets that follow belong to this SA.
   * @param slot byte offset of the SA's slot in the SAD
   * @param salt the nonce's first word as a big-endian number (RFC 4106 §4)
   * @param spi the first word of the additional data
   * @param extended 0 when the sequence number in the additional data has 32 bits
   */
  open(slot: number, keyLength: number, salt: number, spi: number, extended: number): void;
  /**
   * Packet number `i` to be encrypted. Its IV is the sequence number.
   * @param high, low the sequence number; in the additional data `high` is left out when it has 32 bits
   * @param text byte offset of the text in the frames' region; the ICV will stand right behind it
   * @param length bytes of text
   */
  encrypt(i: number, high: number, low: number, text: number, length: number): void;
  /**
   * Packet number `i` to be decrypted.
   * @param ivHigh, ivLow the nonce's other two words
   * @param high, low, text, length see `encrypt`
   */
  decrypt(
    i: number,
    ivHigh: number,
    ivLow: number,
    high: number,
    low: number,
    text: number,
    length: number,
  ): void;
  /** Encrypts (or decrypts) packets 0 to `count` - 1 of the batch. */
  run(count: number): void;
  /**
   * Decryption: did packet `i` carry the right ICV? Compared in constant time.
   * @param icv byte offset of the received ICV in the frames' region
   */
  authentic(i: number, icv: number): boolean;
}
