// What the ESP apps ask of a crypto engine: to encrypt and authenticate a batch of packets, in place. Each kind of cipher
// has a batch of its own, so that the jobs of one batch differ in little; packets of SAs with unlike ciphers go to unlike
// batches, which are run one after the other.
//
// A batch goes: `encrypt` or `decrypt` for each of its packets from 0 to n - 1, with `open` and `turn` in front of each run of packets of the same SA,
// then `run`. Offsets are bytes in the frames' region, key offsets bytes in the SAD's. Engines keep their own scratch
// memory; a batch allocates nothing in the fast engine.

/** Packets of one batch at most. */
export const MAX_BATCH = 128;

export interface AeadEngine {
  /** `engine` in the SAD's header: 1 libIPSec_MB, 2 node:crypto. */
  readonly id: number;
  readonly name: string;
  /** Expands the keys in a slot, which is filled, into the slot's schedule. */
  expandKeys(slotOffset: number): void;
  encryptor(): Batches;
  decryptor(): Batches;
  close(): void;
}

/** By kind of cipher. */
export interface Batches {
  readonly gcm: AeadBatch;
  readonly chacha20: AeadBatch;
  readonly cbc: CbcBatch;
}

/** AES-GCM (RFC 4106) or ChaCha20-Poly1305 (RFC 7634), with a 16-byte ICV. */
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
   * The packets that follow have sequence numbers with this high half, 0 to 2^32 - 1, until the next call, whatever their SA.
   * In the additional data it is left out when the sequence number in it has 32 bits.
   */
  turn(high: number): void;
  /**
   * Packet number `i` to be encrypted. Its IV is the sequence number.
   * @param low half of the sequence number, as it lies in memory
   * @param text byte offset of the text in the frames' region; the ICV will stand right behind it
   * @param length bytes of text
   */
  encrypt(i: number, low: number, text: number, length: number): void;
  /**
   * Packet number `i` to be decrypted.
   * @param ivHigh, ivLow the nonce's other two words, as they lie in memory
   * @param low, text, length see `encrypt`
   */
  decrypt(i: number, ivHigh: number, ivLow: number, low: number, text: number, length: number): void;
  /** Encrypts (or decrypts) packets 0 to `count` - 1 of the batch. */
  run(count: number): void;
  /**
   * Decryption: did packet `i` carry the right ICV? Compared in constant time.
   * @param icv byte offset of the received ICV in the frames' region, a multiple of four
   */
  authentic(i: number, icv: number): boolean;
}

/**
 * AES-CBC (RFC 3602) with an HMAC (RFC 2404, RFC 4868), over ESP packets: SPI and sequence number, IV, text, ICV.
 *
 * An IV must not be foreseen by those who choose what is sent (RFC 3602 §3). Encryption makes it: of the number in its
 * place, which must be used once with the key only, it makes the number's encryption with that key, as NIST
 * SP 800-38A, appendix C, has it. To whoever has not the key that is as good as a random number; it costs one block of the
 * cipher, and it cannot fail. The numbers are the sequence numbers: nobody can choose those, which is what the method
 * depends on.
 */
export interface CbcBatch {
  /** The packets to come belong to this SA. @param slot byte offset of its slot in the SAD */
  open(slot: number): void;
  /**
   * Packet number `i`, of the SA opened last.
   * @param esp byte offset of the ESP header in the frames' region; at `esp` + 8 stands the IV or, for encryption, the number
   *   that it is made of, 16 bytes; then the text; behind that stands, or will stand, the ICV
   * @param length bytes of text, a multiple of 16
   * @param high upper half of the sequence number, of which there is use with extended sequence numbers only
   */
  set(i: number, esp: number, length: number, high: number): void;
  /**
   * Encrypts (or decrypts) packets 0 to `count` - 1.
   * @throws Error when the library leaves jobs undone
   */
  run(count: number): void;
  /**
   * Decryption: did packet `i` carry the right ICV? Compared in constant time.
   * @param icv byte offset of the received ICV in the frames' region
   */
  authentic(i: number, icv: number): boolean;
}
