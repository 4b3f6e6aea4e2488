// What every resource of the API works with, and what a request has been found to be before it reaches one.

import type { EventEmitter } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import type { CommitOptions, CommitResult, Datastore } from "../config/datastore.js";
import type { Schema } from "../config/schema.js";
import type { Edit, Format, Tree } from "../config/tree.js";
import type { Json, JsonObject } from "./json.js";

export interface Logger {
  info(text: string): void;
  warn(text: string): void;
}

/** An rpc's work: gets its checked input with defaults filled in, and gives its output if it has one. */
export type Operation = (input: JsonObject) => Promise<object | undefined> | Promise<void>;

/**
 * Something that has happened, emitted as "notification". `name` is a notification of the model, `content` its leaves in
 * RFC 7951's form.
 */
export interface NotificationEvent {
  name: string;
  content: JsonObject;
  time?: Date;
}

/** Data that edits can be tried on. */
export interface DataTree extends Pick<Tree, "apply" | "exists" | "free"> {
  clone(): DataTree;
  diff(to: DataTree): string[];
}

/** The part of a datastore that data resources read and edit. */
export interface DataSource extends Pick<Datastore, "etag" | "lastModified" | "read"> {
  readonly schema: Pick<Schema, "modules" | "node">;
  readonly running: DataTree;
  check(edits: readonly Edit[]): string[];
  commit(edits: readonly Edit[], options: CommitOptions): Promise<CommitResult>;
}

/** What data resources work with. */
export interface DataService {
  datastore: DataSource;
  logger: Logger;
}

export interface Service {
  datastore: Datastore;
  /** Content of /gateway-state in RFC 7951's form; asked only when an answer can include it. */
  state: () => object | Promise<object>;
  /** By the names of rpcs; those about commits are answered by the datastore. */
  operations: Readonly<Record<string, Operation>>;
  events: EventEmitter;
  logger: Logger;
}

/** Who asks, and what they may do. */
export interface Client {
  /** Stands in the history. */
  user: string;
  read: boolean;
  write: boolean;
  secrets: boolean;
}

export interface Request {
  method: string;
  /** Still percent-encoded, what follows the resource's own path. */
  path: string;
  /** Still percent-encoded, without question mark. */
  query: string;
  headers: IncomingHttpHeaders;
  body: Uint8Array;
  client: Client;
}

/** What an answer has. A document is printed in the form that the client wants. */
export interface Answer {
  status: number;
  headers?: Record<string, string>;
  document?: { [name: string]: Json };
  format?: Format;
  /** A body that is no data of the model, with its content-type among the headers. */
  text?: string;
}
