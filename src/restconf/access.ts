// Who asks. Over the UNIX socket it is root, by the mode of the socket's file; over TCP a client with a certificate that
// the authorities of the configuration signed, or with a bearer token (RFC 6750) from the token file.

import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import { accessDenied, failure } from "./errors.js";
import type { Client, Logger } from "./service.js";
import { Throttle } from "./throttle.js";
import type { Tokens } from "./tokens.js";

/** @throws RestconfError 401 or 429 */
export type Authenticate = (request: IncomingMessage) => Client;

/**
 * Root may say for whom it acts, so that the history tells: `vita config` names the operator.
 * The name is only ever taken from the UNIX socket.
 */
const userHeader = "x-vita-user";

export function unixAccess(): Authenticate {
  return (request) => {
    const named = request.headers[userHeader];
    const user = typeof named === "string" && /^[\x20-\x7e]{1,128}$/.test(named) ? named : "root";
    return { user, read: true, write: true, secrets: true };
  };
}

/** @param tokens asked for each request, because the configuration may change */
export function tcpAccess(tokens: () => Tokens, logger: Logger): Authenticate {
  const throttle = new Throttle();
  return (request) => {
    const certificate = nameInCertificate(request);
    if (certificate !== undefined) return tokens().clientOfCertificate(certificate);
    const address = request.socket.remoteAddress ?? "";
    const [, token] = /^Bearer +([\w\-.~+/]+=*) *$/i.exec(request.headers.authorization ?? "") ?? [];
    if (request.headers.authorization === undefined) throw unauthorized("the client has not said who it is");
    const wait = throttle.wait(address);
    if (wait > 0) {
      throw failure("access-denied", "too many wrong tokens came from this address", {
        status: 429,
        headers: { "retry-after": String(Math.ceil(wait / 1000)) },
      });
    }
    const client = token === undefined ? undefined : tokens().clientOfToken(token);
    if (!client) {
      throttle.failed(address);
      logger.warn(`restconf: a wrong token came from ${address}`);
      throw unauthorized("the token is not known", ', error="invalid_token"');
    }
    throttle.succeeded(address);
    return client;
  };
}

function unauthorized(message: string, detail = "") {
  return failure("access-denied", message, {
    status: 401,
    headers: { "www-authenticate": `Bearer realm="vita"${detail}` },
  });
}

/** Common name, or else the first alternative name, of a certificate that is good. */
function nameInCertificate({ socket }: IncomingMessage): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const certificate = socket.getPeerCertificate();
  const common = [certificate.subject?.CN ?? []].flat()[0];
  const alternative = certificate.subjectaltname?.split(", ")[0]?.replace(/^[A-Za-z ]+:/, "");
  const name = common ?? alternative;
  // What stands in the history is one short line.
  return name === undefined || !/^[^\p{C}]{1,128}$/u.test(name) ? undefined : name;
}

/** @throws RestconfError 403 */
export function requireRight(client: Client, right: "read" | "write"): void {
  if (!client[right]) throw accessDenied(`"${client.user}" has not the right \`${right}\``);
}
