// Notifications (RFC 8040, section 6): server-sent events, one `notification` message of RFC 5277 each, for everybody who
// listens to the stream NETCONF.
//
// Nothing is kept for later (no replay), and nobody is waited for: a client that does not read what is sent is cut off
// once more than a bounded number of bytes wait for it. Between events a comment is sent now and then, so that both ends
// notice when the other one is gone.

import type { Server, ServerResponse } from "node:http";
import { MODULE_NAME } from "../config/schema.js";
import type { Format } from "../config/tree.js";
import { failure, invalidValue } from "./errors.js";
import type { Json } from "./json.js";
import { preferred } from "./media.js";
import type { NotificationEvent, Request, Service } from "./service.js";
import { xmlWriter } from "./xml-write.js";

export const streamFormats = ["json", "xml"] as const;

export interface StreamLimits {
  /** Milliseconds between comments. */
  keepAlive: number;
  /** Bytes that may wait for one client. */
  backlog: number;
  clients: number;
}

export const defaultLimits: StreamLimits = { keepAlive: 15_000, backlog: 1 << 18, clients: 64 };

interface Listener {
  response: ServerResponse;
  format: Format;
  server: Server;
}

export class Streams {
  readonly #listeners = new Set<Listener>();
  readonly #limits: StreamLimits;
  readonly #service: Service;
  readonly #timer: NodeJS.Timeout;
  readonly #writeXml: ReturnType<typeof xmlWriter>;
  readonly #onEvent = (event: NotificationEvent) => this.#send(event);
  readonly #onChanged = (change: { number: number; user: string; confirmBy?: Date; changed: string[] }) =>
    this.#send({
      name: "configuration-changed",
      content: {
        number: change.number,
        user: change.user,
        ...(change.confirmBy && { "confirm-by": change.confirmBy.toISOString() }),
        changed: change.changed.slice(0, 100),
      },
    });

  constructor(service: Service, limits: StreamLimits) {
    this.#service = service;
    this.#limits = limits;
    const namespaces = new Map(
      service.datastore.schema.modules.map(({ name, namespace }) => [name, namespace]),
    );
    this.#writeXml = xmlWriter((name) => namespaces.get(name));
    service.events.on("notification", this.#onEvent);
    service.datastore.on("changed", this.#onChanged);
    this.#timer = setInterval(() => this.#write(() => ":\n\n"), limits.keepAlive).unref();
  }

  /** Says why a request cannot be a stream. @throws RestconfError */
  check(request: Request): void {
    if (preferred(request.headers.accept, ["text/event-stream"]) === undefined) {
      throw failure("invalid-value", "a stream is text/event-stream, which Accept has not", { status: 406 });
    }
    if (request.query !== "") {
      throw invalidValue("a stream takes no query parameters: it has neither filters nor replay");
    }
    if (this.#listeners.size >= this.#limits.clients) {
      throw failure("resource-denied", `there are ${this.#limits.clients} listeners already`, {
        status: 503,
        headers: { "retry-after": "30" },
      });
    }
  }

  /** Takes a response over, until its client or we end it. */
  add(response: ServerResponse, format: Format, server: Server): void {
    const listener = { response, format, server };
    response.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-cache",
      "x-accel-buffering": "no",
    });
    response.write(":\n\n");
    response.on("error", () => {
      // The client is gone; "close" follows.
    });
    response.once("close", () => this.#listeners.delete(listener));
    this.#listeners.add(listener);
  }

  /** Ends the streams of a server that goes. */
  endThose(server: Server): void {
    for (const listener of this.#listeners) {
      if (listener.server !== server) continue;
      this.#listeners.delete(listener);
      listener.response.end();
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#service.events.off("notification", this.#onEvent);
    this.#service.datastore.off("changed", this.#onChanged);
    for (const { response } of this.#listeners) response.end();
    this.#listeners.clear();
  }

  #send(event: NotificationEvent): void {
    const eventTime = (event.time ?? new Date()).toISOString();
    const inForm: Partial<Record<Format, string>> = {};
    this.#write((format) => {
      inForm[format] ??= message(format, eventTime, event, this.#writeXml);
      return inForm[format];
    });
  }

  #write(textFor: (format: Format) => string): void {
    for (const listener of this.#listeners) {
      const { response, format } = listener;
      if (response.writableLength > this.#limits.backlog) {
        this.#listeners.delete(listener);
        this.#service.logger.warn("restconf: a listener that does not read its stream was cut off");
        response.destroy();
      } else response.write(textFor(format));
    }
  }
}

function message(
  format: Format,
  eventTime: string,
  { name, content }: NotificationEvent,
  writeXml: (document: { [name: string]: Json }) => string,
): string {
  const inner = { eventTime, [`${MODULE_NAME}:${name}`]: content };
  const text =
    format === "json"
      ? JSON.stringify({ "ietf-restconf:notification": inner })
      : writeXml({ "notification:notification": inner });
  return text
    .split("\n")
    .map((line) => `data: ${line}\n`)
    .concat("\n")
    .join("");
}
