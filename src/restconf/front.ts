// HTTP: a fastify instance for one listener. It authenticates before it reads a body, bounds what it reads, and puts
// resources' answers and errors into the form that the client wants.

import type { IncomingMessage, Server, ServerResponse } from "node:http";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { Format } from "../config/tree.js";
import { type Authenticate, requireRight } from "./access.js";
import { errorDocument } from "./error-document.js";
import {
  failure,
  malformed,
  methodNotAllowed,
  notFound,
  type RestconfError,
  restconfErrorOf,
} from "./errors.js";
import { answerFormat, refuseEncoded, yangData } from "./media.js";
import { type Resource, resourcesOf } from "./resources.js";
import type { Answer, Client, Request, Service } from "./service.js";
import { type Streams, streamFormats } from "./streams.js";
import { xmlWriter } from "./xml-write.js";

/** Bytes of a body: a configuration of 5,000 routes with their SAs has about 3 MB. */
const largestBody = 16 * 1024 * 1024;
const methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];
const nobody: Client = { user: "", read: false, write: false, secrets: false };

export interface FrontOptions {
  service: Service;
  streams: Streams;
  authenticate: Authenticate;
  /** Milliseconds. */
  answerTimeout: number;
  makeServer: (handler: (request: IncomingMessage, response: ServerResponse) => void) => Server;
}

/** The server is made, but does not listen yet. */
export async function makeFront(options: FrontOptions): Promise<Server> {
  const { service, streams, authenticate, answerTimeout } = options;
  const namespaces = new Map(
    service.datastore.schema.modules.map(({ name, namespace }) => [name, namespace]),
  );
  const writeXml = xmlWriter((name) => namespaces.get(name));
  const clients = new WeakMap<IncomingMessage, Client>();

  const print = (document: NonNullable<Answer["document"]>, format: Format) =>
    format === "json" ? `${JSON.stringify(document, null, 2)}\n` : `${writeXml(document)}\n`;

  const sendAnswer = (request: FastifyRequest, reply: FastifyReply, answer: Answer) => {
    // Until it is answered a request may take long, then its client may not; Node.js ends this when all is sent.
    reply.raw.setTimeout(answerTimeout, () => reply.raw.destroy());
    reply.code(answer.status).headers(answer.headers ?? {});
    if (answer.text !== undefined) return reply.send(answer.text);
    if (!answer.document) return reply.send();
    const format =
      answer.format ?? answerFormat(request.headers.accept, request.headers["content-type"]) ?? "json";
    // As bytes: to a text fastify would add a charset, which the media type does not have.
    const body = Buffer.from(print(answer.document, format));
    return reply.header("vary", "accept").header("content-type", yangData[format]).send(body);
  };

  const sendError = (request: FastifyRequest, reply: FastifyReply, thrown: unknown) => {
    const error = fromFastify(thrown) ?? restconfErrorOf(thrown);
    // A client that asks for too much (503) is not to fill the log.
    if (error.status === 500)
      service.logger.warn(`restconf: ${request.method} ${pathOf(request)}: ${error.message}`);
    sendAnswer(request, reply, {
      status: error.status,
      headers: error.headers,
      document: errorDocument(error.failures),
    });
  };

  const app: FastifyInstance = Fastify({
    bodyLimit: largestBody,
    exposeHeadRoutes: false,
    routerOptions: { ignoreTrailingSlash: false },
    serverFactory: options.makeServer,
    frameworkErrors: (error, request, reply) => sendError(request, reply as FastifyReply, error),
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  app.setErrorHandler((error, request, reply) => sendError(request, reply, error));
  app.setNotFoundHandler((request, reply) => {
    const known = methods.includes(request.method);
    const error = known
      ? notFound("there is no such resource")
      : methodNotAllowed(request.method, methods.join(", "));
    sendError(request, reply, error);
  });

  const openPaths = new Set<string>();
  app.addHook("onRequest", async (request) => {
    const open = openPaths.has(request.routeOptions.url ?? "");
    clients.set(request.raw, open ? { ...nobody, read: true } : authenticate(request.raw));
    refuseEncoded(request.headers["content-encoding"]);
  });

  const requestOf = (request: FastifyRequest, root: string): Request => {
    const [path = "", ...query] = (request.raw.url ?? "").split("?");
    // The router compares decoded paths; ours must be found in what was sent.
    if (!path.startsWith(root)) throw notFound("there is no such resource");
    return {
      method: request.method,
      path: path.slice(root.length),
      query: query.join("?"),
      headers: request.headers,
      body: Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0),
      client: clients.get(request.raw) ?? nobody,
    };
  };

  const add = ({ url, open, answer }: Resource) => {
    if (open) openPaths.add(url);
    app.route({
      method: methods,
      // The router takes a colon alone for a parameter.
      url: url.replaceAll(":", "::"),
      handler: async (request, reply) => {
        const asked = requestOf(request, url.replace(/\/\*$/, ""));
        return sendAnswer(request, reply, await answer(asked));
      },
    });
  };
  for (const resource of resourcesOf(service)) add(resource);
  for (const format of streamFormats) {
    const url = `/restconf/streams/NETCONF/${format}`;
    app.route({
      method: methods,
      url,
      handler: async (request, reply) => {
        const asked = requestOf(request, url);
        if (asked.method === "OPTIONS") {
          return sendAnswer(request, reply, { status: 200, headers: { allow: "GET, OPTIONS" } });
        }
        if (asked.method !== "GET") throw methodNotAllowed(asked.method, "GET, OPTIONS");
        requireRight(asked.client, "read");
        streams.check(asked);
        reply.hijack();
        streams.add(reply.raw, format, app.server);
        return reply;
      },
    });
  }
  await app.ready();
  return app.server;
}

function pathOf(request: FastifyRequest): string {
  return (request.raw.url ?? "").split("?")[0] ?? "";
}

/** What fastify itself finds wrong with a request. */
function fromFastify(error: unknown): RestconfError | undefined {
  const code = (error as { code?: unknown }).code;
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return failure("too-big", `the message is longer than ${largestBody} bytes`, { type: "transport" });
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return failure("invalid-value", "the Content-Type is no media type", { status: 415 });
    case "FST_ERR_BAD_URL":
      return failure("invalid-value", "the path is not percent-encoded UTF-8");
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return malformed("the message has another length than its Content-Length says");
    default: {
      const status = (error as { statusCode?: unknown }).statusCode;
      const client = typeof code === "string" && typeof status === "number" && status < 500;
      return client
        ? failure("malformed-message", (error as Error).message, { status, type: "transport" })
        : undefined;
    }
  }
}
