// Certificates and keys that a configuration names by their files. They are read when charon is given them, and looked at
// before: a file that is missing, or holds another thing, is told of by the leaf that names it.

import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { IkeError } from "./ike-error.js";

/** Bytes of a file; a chain of certificates has some kilobytes. */
const FILE_MAX = 256 * 1024;
const PEM = /-----BEGIN ([A-Z0-9 ]+)-----[^-]*-----END \1-----/g;

/** Where the contents come from; tests have files of their own. */
export interface IkeFiles {
  /**
   * The certificates in a file, DER, in their order: one of DER, or any number of PEM.
   * @throws IkeError
   */
  certificates(path: string, file: string): Buffer[];
  /** A certificate that authorities have: as `certificates`, and each one that of an authority. */
  authorities(path: string, file: string): Buffer[];
  /** A public key, DER. */
  publicKey(path: string, file: string): Buffer;
  /** A private key as its file has it, once it is known to be one. */
  privateKey(path: string, file: string): Buffer;
}

function contents(path: string, file: string): Buffer {
  try {
    const { size } = statSync(file);
    if (size > FILE_MAX)
      throw new IkeError(path, `"${file}" has ${size} bytes; at most ${FILE_MAX} are read`);
    return readFileSync(file);
  } catch (error) {
    if (error instanceof IkeError) throw error;
    throw new IkeError(path, `"${file}" cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

function certificatesOf(path: string, file: string): X509Certificate[] {
  const bytes = contents(path, file);
  const blocks = [...bytes.toString("latin1").matchAll(PEM)];
  const parts =
    blocks.length === 0 ? [bytes] : blocks.filter(([, type]) => type === "CERTIFICATE").map(([pem]) => pem);
  try {
    if (parts.length > 0) return parts.map((part) => new X509Certificate(part));
  } catch {
    // Said below.
  }
  throw new IkeError(path, `"${file}" holds no certificate (X.509, PEM or DER)`);
}

/** Files of this machine. Each one is read once; whoever wants them anew takes a new object. */
export class MachineFiles implements IkeFiles {
  readonly #certificates = new Map<string, X509Certificate[]>();

  #certificatesOf(path: string, file: string): X509Certificate[] {
    const known = this.#certificates.get(file);
    if (known) return known;
    const read = certificatesOf(path, file);
    this.#certificates.set(file, read);
    return read;
  }

  certificates(path: string, file: string): Buffer[] {
    return this.#certificatesOf(path, file).map(({ raw }) => raw);
  }

  authorities(path: string, file: string): Buffer[] {
    const certificates = this.#certificatesOf(path, file);
    const other = certificates.find(({ ca }) => !ca);
    if (other) {
      const subject = other.subject.replaceAll("\n", ", ");
      throw new IkeError(path, `the certificate of "${subject}" in "${file}" is not that of an authority`);
    }
    return certificates.map(({ raw }) => raw);
  }

  publicKey(path: string, file: string): Buffer {
    const bytes = contents(path, file);
    try {
      const key = bytes.includes("-----BEGIN")
        ? bytes
        : ({ key: bytes, format: "der", type: "spki" } as const);
      return createPublicKey(key).export({ format: "der", type: "spki" });
    } catch {
      throw new IkeError(path, `"${file}" holds no public key (PEM or DER)`);
    }
  }

  privateKey(path: string, file: string): Buffer {
    const bytes = contents(path, file);
    if (bytes.includes("ENCRYPTED")) {
      throw new IkeError(path, `the private key in "${file}" is encrypted; Vita has no passphrase for it`);
    }
    const forms = bytes.includes("-----BEGIN")
      ? [bytes]
      : (["pkcs8", "pkcs1", "sec1"] as const).map((type) => ({ key: bytes, format: "der" as const, type }));
    for (const form of forms) {
      try {
        createPrivateKey(form);
        return bytes;
      } catch {
        // Another form, or none: said below.
      }
    }
    throw new IkeError(path, `"${file}" holds no private key (PEM or DER)`);
  }
}
