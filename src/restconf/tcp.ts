// The API over TCP: TLS from 1.2 on, always. The settings change while the node runs; the new listener is there before
// the old one goes, and requests that are being answered are answered to their end.

import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer, type Server as TlsServer } from "node:https";
import { isDeepStrictEqual } from "node:util";
import type { RestconfTcp } from "../config/configuration.js";
import { tcpAccess } from "./access.js";
import { makeFront } from "./front.js";
import type { HttpLimits } from "./limits.js";
import type { Service } from "./service.js";
import type { Streams } from "./streams.js";
import { filesVersion, settingError, tlsOptions } from "./tls.js";
import { Tokens } from "./tokens.js";

/** Milliseconds after which what is left of an old listener's connections is ended. */
const grace = 10_000;
/** Milliseconds between looks at the files. */
const lookEvery = 30_000;
const mostConnections = 256;

interface Listener {
  server: TlsServer;
  settings: RestconfTcp;
  tokens: Tokens;
  files: string;
}

export class TcpListener {
  readonly #service: Service;
  readonly #streams: Streams;
  readonly #limits: HttpLimits;
  readonly #timer: NodeJS.Timeout;
  #current: Listener | undefined;

  constructor(service: Service, streams: Streams, limits: HttpLimits) {
    this.#limits = limits;
    this.#service = service;
    this.#streams = streams;
    this.#timer = setInterval(() => this.#look(), lookEvery).unref();
  }

  /**
   * Applies settings; undefined ends the listener.
   * @throws ConfigurationError that names the setting; the old listener goes on as it was
   */
  async apply(settings: RestconfTcp | undefined): Promise<void> {
    const old = this.#current;
    if (settings === undefined) {
      this.#current = undefined;
      if (old) this.#retire(old.server);
      return;
    }
    const files = filesVersion(settings);
    const options = tlsOptions(settings);
    const tokens = this.#tokens(settings);
    if (old && sameSocket(old.settings, settings)) {
      old.server.setSecureContext(options);
      Object.assign(old, { settings, tokens, files });
      old.server.closeIdleConnections();
      return;
    }
    const listener = await this.#make(settings, tokens, files, options);
    const inTheWay = old && old.settings.port === settings.port ? old : undefined;
    if (inTheWay) await stopListening(inTheWay.server);
    try {
      await listen(listener.server, settings);
    } catch (error) {
      if (inTheWay) await listen(inTheWay.server, inTheWay.settings);
      throw settingError("port", `${settings.address} port ${settings.port}: ${(error as Error).message}`);
    }
    this.#current = listener;
    if (old) this.#retire(old.server);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    const server = this.#current?.server;
    this.#current = undefined;
    if (!server) return;
    const closed = stopListening(server);
    server.closeAllConnections();
    await closed;
  }

  #tokens(settings: RestconfTcp): Tokens {
    try {
      return new Tokens(settings["token-file"], this.#service.logger);
    } catch (error) {
      throw settingError("token-file", `"${settings["token-file"]}": ${(error as Error).message}`);
    }
  }

  async #make(settings: RestconfTcp, tokens: Tokens, files: string, options: object): Promise<Listener> {
    let server: TlsServer | undefined;
    const makeServer = (handler: (request: IncomingMessage, response: ServerResponse) => void): Server => {
      server = createServer(
        {
          ...this.#limits,
          ...options,
          requestCert: true,
          rejectUnauthorized: false,
          handshakeTimeout: 10_000,
        },
        handler,
      );
      server.maxConnections = mostConnections;
      server.on("tlsClientError", () => {
        // A handshake that comes to nothing is the client's affair.
      });
      return server as unknown as Server;
    };
    const listener = { settings, tokens, files } as Listener;
    await makeFront({
      service: this.#service,
      streams: this.#streams,
      authenticate: tcpAccess(() => listener.tokens, this.#service.logger),
      answerTimeout: this.#limits.answerTimeout,
      makeServer,
    });
    return Object.assign(listener, { server });
  }

  #retire(server: TlsServer): void {
    this.#streams.endThose(server as unknown as Server);
    server.close();
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), grace).unref();
  }

  #look(): void {
    const current = this.#current;
    if (!current) return;
    const files = filesVersion(current.settings);
    if (files === current.files) return;
    current.files = files;
    try {
      current.server.setSecureContext(tlsOptions(current.settings));
      this.#service.logger.info("restconf: certificates were read again");
    } catch (error) {
      this.#service.logger.warn(`${(error as Error).message}; the ones before stay`);
    }
  }
}

function sameSocket(a: RestconfTcp, b: RestconfTcp): boolean {
  return isDeepStrictEqual([a.address, a.port], [b.address, b.port]);
}

function listen(server: TlsServer, { address, port }: RestconfTcp): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: address, port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Nobody new comes in; connections that are there stay. */
function stopListening(server: TlsServer): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    // `close` calls back when the last connection has gone; the port is free at once.
    server.closeIdleConnections();
    setImmediate(resolve);
  });
}
