// A datastore on temporary files with the API on a UNIX socket, and plain HTTP requests to it.

import { EventEmitter } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import {
  type ClientRequest,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
} from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Datastore } from "../../config/datastore.js";
import { Schema } from "../../config/schema.js";
import type { JsonObject } from "../json.js";
import { type Restconf, type RestconfOptions, startRestconf } from "../restconf.js";

export const key = "00112233445566778899aabbccddeeff";
export const otherKey = "ffeeddccbbaa99887766554433221100";
export const outboundKey = "0123456789abcdef0123456789abcdef";
export const salt = "0a0b0c0d";
export const preSharedKey = "correct horse battery staple";

/** What every test begins with. */
export const site = {
  "vita-gateway:node": "alpha",
  "vita-gateway:public-interface": [{ name: "wan0" }, { name: "wan1", driver: "packet" }],
  "vita-gateway:private-interface": [{ name: "lan0", "if-id": 7 }],
  "vita-gateway:workers": 2,
  "vita-gateway:route": [
    { id: "foo", net: ["10.1.0.0/16", "10.2.0.0/16"], gateway: { ip: "192.0.2.2" } },
    { id: "bar", net: ["10.3.0.0/16"], gateway: { ip: "192.0.2.3" } },
  ],
  "vita-gateway:inbound-sa": [{ spi: 1234, route: "foo", key, salt }],
  "vita-gateway:outbound-sa": [{ spi: 1235, route: "foo", key: outboundKey, salt }],
  "vita-gateway:connection": [
    {
      id: "site",
      "remote-address": ["198.51.100.7"],
      "pre-shared-key": preSharedKey,
      child: [{ id: "lan", "remote-ts": ["10.9.0.0/16"] }],
    },
  ],
};

export const state = {
  started: "2026-11-26T08:00:00Z",
  worker: [
    { index: 0, pid: 4711, alive: true },
    { index: 1, pid: 4712, alive: false },
  ],
  counter: [{ name: "decapsulate.drop.replayed", value: "18446744073709551615" }],
  sa: [{ direction: "in", dst: "192.0.2.1:4500", spi: "0x4d2", "src-ts": ["10.0.0.0/8"], packets: "3" }],
  policy: [
    { direction: "out", type: "drop" },
    { direction: "in", type: "pass" },
  ],
};

export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** The body, if it is JSON. */
  json: JsonObject;
}

export interface Ask {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Buffer | object;
}

export interface Rig {
  datastore: Datastore;
  restconf: Restconf;
  events: EventEmitter;
  folder: string;
  socket: string;
  log: string[];
  /** Times that state was computed. */
  asked: { state: number };
  ask(path: string, ask?: Ask): Promise<Reply>;
  /** Brings the configuration of the beginning back. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

export async function startRig(more: Partial<RestconfOptions> = {}): Promise<Rig> {
  const folder = mkdtempSync(join(tmpdir(), "vita-restconf-"));
  const startupFile = join(folder, "alpha.json");
  writeFileSync(startupFile, JSON.stringify(site), { mode: 0o600 });
  const log: string[] = [];
  const datastore = Datastore.open({
    schema: Schema.load(),
    startupFile,
    stateDirectory: join(folder, "state"),
  });
  datastore.carryOut = async () => {};
  const events = new EventEmitter();
  const asked = { state: 0 };
  const socket = join(folder, "api.sock");
  const restconf = await startRestconf({
    datastore,
    state: () => {
      asked.state += 1;
      return state;
    },
    operations: {},
    events,
    unixSocket: socket,
    logger: { info: (text) => log.push(text), warn: (text) => log.push(text) },
    ...more,
  });
  return {
    datastore,
    restconf,
    events,
    folder,
    socket,
    log,
    asked,
    ask: (path, ask) => send({ socketPath: socket, path }, ask),
    reset: async () => {
      const value = { text: JSON.stringify(site), format: "json" as const };
      await datastore.commit([{ operation: "replace", target: "/", value }], { user: "test" });
    },
    close: async () => {
      await restconf.close();
      datastore.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

type Requester = (options: RequestOptions, answered: (response: IncomingMessage) => void) => ClientRequest;

/** One request on a connection of its own. An object is sent as application/yang-data+json. */
export function send(
  where: RequestOptions,
  { method = "GET", headers = {}, body }: Ask = {},
  request: Requester = httpRequest,
): Promise<Reply> {
  const isObject = typeof body === "object" && !Buffer.isBuffer(body);
  const bytes = isObject ? JSON.stringify(body) : body;
  const type = isObject ? { "content-type": "application/yang-data+json" } : {};
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { ...where, method, agent: false, headers: { ...type, ...headers } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          const isJson = response.headers["content-type"]?.includes("json") && text !== "";
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            json: isJson ? (JSON.parse(text) as JsonObject) : {},
          });
        });
      },
    );
    outgoing.on("error", reject);
    if (bytes !== undefined) outgoing.setHeader("content-length", Buffer.byteLength(bytes));
    outgoing.end(bytes);
  });
}

/** The first error of an answer. */
export function errorOf({ json }: Reply): JsonObject {
  const errors = json["ietf-restconf:errors"] as { error: JsonObject[] } | undefined;
  return errors?.error[0] ?? {};
}
