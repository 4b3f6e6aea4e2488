// A text on its way to the disk: bytes, in the chunks that they come in, and their hash, which more than one wants to know.
// Chunks of lists in which nothing has changed are those of the configuration before.

import { createHash } from "node:crypto";

export class StoredText {
  readonly chunks: readonly Uint8Array[];
  #hash: string | undefined;

  constructor(content: string | readonly Uint8Array[]) {
    this.chunks = typeof content === "string" ? [Buffer.from(content)] : content;
  }

  /** SHA-256, hexadecimal digits. */
  get hash(): string {
    if (this.#hash === undefined) {
      const hash = createHash("sha256");
      for (const chunk of this.chunks) hash.update(chunk);
      this.#hash = hash.digest("hex");
    }
    return this.#hash;
  }

  toString(): string {
    return Buffer.concat(this.chunks).toString("utf8");
  }
}
