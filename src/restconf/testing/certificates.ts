// Certificates for tests, made by openssl in a folder.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Certificate {
  certificate: string;
  key: string;
}

const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

function openssl(...words: string[]): void {
  execFileSync("openssl", words, { stdio: ["ignore", "ignore", "pipe"], timeout: 20_000 });
}

export function makeAuthority(folder: string, name: string): Certificate {
  const certificate = join(folder, `${name}.pem`);
  const key = join(folder, `${name}.key`);
  openssl(
    "req",
    "-x509",
    ...newKey,
    "-keyout",
    key,
    "-out",
    certificate,
    "-days",
    "2",
    "-subj",
    `/CN=${name}`,
  );
  return { certificate, key };
}

/** @param subject in openssl's form: `/CN=alice` */
export function issue(
  folder: string,
  authority: Certificate,
  name: string,
  subject: string,
  alternative: string,
): Certificate {
  const certificate = join(folder, `${name}.pem`);
  const key = join(folder, `${name}.key`);
  const request = join(folder, `${name}.csr`);
  const extensions = join(folder, `${name}.ext`);
  writeFileSync(extensions, `subjectAltName=${alternative}\n`);
  openssl("req", "-new", ...newKey, "-keyout", key, "-out", request, "-subj", subject);
  openssl(
    ...["x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key],
    ...["-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", certificate],
  );
  return { certificate, key };
}

/** For a client's TLS options. */
export function read({ certificate, key }: Certificate): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(certificate), key: readFileSync(key) };
}
