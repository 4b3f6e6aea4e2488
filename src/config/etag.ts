// Entity tags (RFC 8040, section 3.4.1.2): the same configuration has the same tag, also after a restart.
//
// A tag goes to everybody who may read, and a configuration holds secrets that are short enough to be guessed. So it is
// no plain hash, with which somebody could try one secret after the other, but a keyed one; the key lies in the state
// directory. When the key is lost the tags are others, and that is all.

import { createHmac, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { replaceFile } from "./atomic-file.js";
import type { StoredText } from "./stored-text.js";

const KEY_BYTES = 32;

export class Tagger {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** Takes the key of this state directory, or makes one. @param warn told when it cannot be kept */
  static open(stateDirectory: string, warn: (text: string) => void): Tagger {
    const path = join(stateDirectory, "etag-key");
    try {
      const key = readFileSync(path);
      if (key.length === KEY_BYTES) return new Tagger(key);
    } catch {
      // There is none yet, or none that could be had: another one does.
    }
    const key = randomBytes(KEY_BYTES);
    try {
      replaceFile(path, key);
    } catch (error) {
      warn(`${path}: ${(error as Error).message}: entity tags will be others after a restart`);
    }
    return new Tagger(key);
  }

  /** The tag of a text: 32 hexadecimal digits, without the quotation marks that HTTP has around it. */
  tag(text: StoredText): string {
    const hmac = createHmac("sha256", this.#key);
    for (const chunk of text.chunks) hmac.update(chunk);
    return hmac.digest("hex").slice(0, 32);
  }
}
