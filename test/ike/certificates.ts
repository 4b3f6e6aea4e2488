// An authority and what it has signed, made with openssl in a folder of the test.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../../src/lab/command.js";

export interface Credentials {
  certificate: string;
  key: string;
}

export class Authority {
  private constructor(
    readonly folder: string,
    /** Its certificate. */
    readonly certificate: string,
    readonly key: string,
  ) {}

  static async make(folder: string): Promise<Authority> {
    mkdirSync(folder, { recursive: true });
    const made = new Authority(folder, join(folder, "ca.pem"), join(folder, "ca.key"));
    const extensions = [
      "-addext",
      "basicConstraints=critical,CA:true",
      "-addext",
      "keyUsage=critical,keyCertSign,cRLSign",
    ];
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", made.key];
    await run("openssl", [
      "req",
      "-x509",
      "-days",
      "2",
      "-subj",
      "/CN=lab CA",
      ...key,
      ...extensions,
      "-out",
      made.certificate,
    ]);
    return made;
  }

  /** A key and a certificate for a name. */
  async sign(name: string): Promise<Credentials> {
    const file = (suffix: string) => join(this.folder, `${name}.${suffix}`);
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file("key")];
    await run("openssl", ["req", "-subj", `/CN=${name}`, ...key, "-out", file("csr")]);
    writeFileSync(file("ext"), `subjectAltName=DNS:${name}\n`);
    const signer = ["-CA", this.certificate, "-CAkey", this.key, "-CAcreateserial"];
    await run("openssl", [
      "x509",
      "-req",
      "-days",
      "2",
      "-in",
      file("csr"),
      ...signer,
      "-extfile",
      file("ext"),
      "-out",
      file("pem"),
    ]);
    return { certificate: file("pem"), key: file("key") };
  }

  /** The public key alone. */
  async publicKey({ key }: Credentials): Promise<string> {
    const file = `${key}.pub`;
    await run("openssl", ["pkey", "-in", key, "-pubout", "-out", file]);
    return file;
  }
}
