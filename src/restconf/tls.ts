// Certificates and keys of the API over TCP. Their files are read whenever the settings are applied, and again when they
// have changed, so that a certificate can be renewed without anybody being told.

import { constants } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import type { RestconfTcp } from "../config/configuration.js";
import { ConfigurationError } from "../config/problem.js";

const leaves = ["certificate", "private-key", "client-ca-certificate"] as const;

/** An error about one of the settings. */
export function settingError(leaf: string, message: string): ConfigurationError {
  return new ConfigurationError("restconf", [
    { path: `/restconf/tcp/${leaf}`, rule: "invalid-value", message },
  ]);
}

/** @throws ConfigurationError that names the leaf whose file cannot be used */
export function tlsOptions(settings: RestconfTcp): SecureContextOptions {
  const read = (leaf: (typeof leaves)[number]): Buffer | undefined => {
    const path = settings[leaf];
    if (path === undefined) return undefined;
    try {
      return readFileSync(path);
    } catch (error) {
      throw settingError(leaf, `"${path}" cannot be read: ${(error as Error).message}`);
    }
  };
  const options: SecureContextOptions = {
    cert: read("certificate"),
    key: read("private-key"),
    // Without authorities of the client's, nobody's certificate is good: not those that the system trusts either.
    ca: read("client-ca-certificate") ?? [],
    minVersion: "TLSv1.2",
    // A session that is resumed would bring a certificate that is no longer trusted.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
  const check = (leaf: string, path: string | undefined, part: SecureContextOptions) => {
    try {
      createSecureContext(part);
    } catch (error) {
      // OpenSSL's messages name the kind of the error, never what is in the file.
      throw settingError(leaf, `"${path}" cannot be used: ${(error as Error).message}`);
    }
  };
  check("certificate", settings.certificate, { cert: options.cert });
  check("private-key", settings["private-key"], { key: options.key });
  check("client-ca-certificate", settings["client-ca-certificate"], { ca: options.ca });
  check("private-key", settings["private-key"], { cert: options.cert, key: options.key });
  return options;
}

/** Changes when one of the files does. */
export function filesVersion(settings: RestconfTcp): string {
  return leaves
    .map((leaf) => {
      const path = settings[leaf];
      try {
        const { ino, size, mtimeMs } = path === undefined ? { ino: 0, size: 0, mtimeMs: 0 } : statSync(path);
        return `${ino} ${size} ${mtimeMs}`;
      } catch {
        return "none";
      }
    })
    .join(", ");
}
