// Clients that may use the API over TCP, from the token file: one a line, its name, the SHA-256 of its token, and its
// rights. For a client with a certificate, `-` stands in place of the hash: the line gives rights to its name.
//
//   # name   SHA-256 of the token, or -                                         rights
//   noc      5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8   read
//   alice    -                                                                  read write secrets

import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import type { Client, Logger } from "./service.js";

const rightNames = ["read", "write", "secrets"] as const;
type Rights = Pick<Client, (typeof rightNames)[number]>;

/** A client with a certificate that the file does not name reads and writes, but sees no secrets. */
const rightsOfCertificate: Rights = { read: true, write: true, secrets: false };

interface Entry {
  name: string;
  hash: Buffer | undefined;
  rights: Rights;
}

/** @throws Error that names the line */
export function parseTokens(text: string): Entry[] {
  const entries: Entry[] = [];
  text.split("\n").forEach((line, i) => {
    const [name = "", hash = "", ...rights] = line
      .replace(/#.*/, "")
      .trim()
      .split(/[\s,]+/);
    if (name === "") return;
    if (hash !== "-" && !/^[0-9a-fA-F]{64}$/.test(hash)) {
      throw new Error(`line ${i + 1}: the second word is neither a SHA-256 in hexadecimal digits nor "-"`);
    }
    const unknown = rights.find((right) => !rightNames.some((known) => known === right));
    if (unknown !== undefined || rights.length === 0) {
      throw new Error(`line ${i + 1}: the rights are not some of ${rightNames.join(", ")}`);
    }
    entries.push({
      name,
      hash: hash === "-" ? undefined : Buffer.from(hash, "hex"),
      rights: {
        read: rights.includes("read"),
        write: rights.includes("write"),
        secrets: rights.includes("secrets"),
      },
    });
  });
  return entries;
}

export class Tokens {
  readonly #path: string | undefined;
  readonly #logger: Logger;
  #entries: Entry[] = [];
  #version = "";

  /** @throws Error when the file cannot be read or is wrong */
  constructor(path: string | undefined, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
    if (path === undefined) return;
    this.#entries = parseTokens(readFileSync(path, "utf8"));
    this.#version = versionOf(path);
  }

  /** The client that has a token. All entries are compared, each in constant time. */
  clientOfToken(token: string): Client | undefined {
    this.#reread();
    const hash = createHash("sha256").update(token).digest();
    let found: Entry | undefined;
    for (const entry of this.#entries) {
      if (entry.hash && timingSafeEqual(entry.hash, hash)) found = entry;
    }
    return found && { user: found.name, ...found.rights };
  }

  clientOfCertificate(name: string): Client {
    this.#reread();
    const entry = this.#entries.find((candidate) => candidate.hash === undefined && candidate.name === name);
    return { user: name, ...(entry?.rights ?? rightsOfCertificate) };
  }

  /** A file that is gone or wrong lets nobody in, rather than those whom it named before. */
  #reread(): void {
    if (this.#path === undefined) return;
    try {
      const version = versionOf(this.#path);
      if (version === this.#version) return;
      this.#version = version;
      this.#entries = parseTokens(readFileSync(this.#path, "utf8"));
      this.#logger.info(`restconf: ${this.#path} was read again`);
    } catch (error) {
      if (this.#entries.length > 0) {
        this.#logger.warn(`restconf: ${this.#path}: ${(error as Error).message}: no token is taken`);
      }
      this.#entries = [];
    }
  }
}

function versionOf(path: string): string {
  const { ino, size, mtimeMs, ctimeMs } = statSync(path);
  return [ino, size, mtimeMs, ctimeMs].join(" ");
}
