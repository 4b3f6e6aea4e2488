// Serves a Kernel to charon: listens on a UNIX SOCK_SEQPACKET socket, checks who connects, decodes each message, asks
// the Kernel and sends its answer (docs/charon-protocol.md).
//
// It lives in the event loop. While nothing happens, poll() sleeps in a thread of libuv's pool. Once something is
// readable, rounds of non-blocking work follow each other: every connection gets a few messages, then the next round.
// charon calls one after the other, so when a round finds nothing the loop lingers for a moment before it goes back to
// the pool: that way back-to-back calls cost one hop through it instead of one each. Lingering blocks the event loop,
// but for a fraction of a millisecond, and only behind a call.
//
// What arrives is hostile until it is checked. A message that is refused costs its sender an error answer and, after
// too many, the connection; other connections notice nothing. An exception in the Kernel becomes FAILED and a log line.

import { lstatSync, unlinkSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Kernel, Status } from "../ipsec/kernel.js";
import {
  accept,
  close,
  errno,
  errorName,
  eventfd,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_TRUNC,
  POLLIN,
  pollAsync,
  ppoll,
  read,
  recv,
  sendto,
  write,
} from "../native/libc.js";
import { DecodeError, decodeRequest, VersionError } from "./decode.js";
import { answerWith, dispatch, type KernelRequest } from "./dispatch.js";
import { encodeAnswer, encodeEvent, encodeHelloAnswer, encodeRefusal, MessageBuffer } from "./encode.js";
import {
  ANSWER,
  type CallAnswer,
  CallType,
  type Event,
  HeaderLayout,
  type Hello,
  type HelloAnswer,
  MESSAGE_MAX,
  type Request,
  VERSION,
} from "./protocol.js";
import { listenAt, type Peer, peerOf } from "./socket.js";

export interface Logger {
  info(text: string): void;
  warn(text: string): void;
}

export interface CharonServiceOptions {
  /** Where to listen. The directory must exist. */
  path: string;
  kernel: Kernel;
  /** `KernelFeature` bits, told to charon with each hello. */
  features: number;
  /** Random, new whenever the SAD begins empty: that is how charon's side learns that its SAs are gone. */
  bootId: bigint;
  logger: Logger;
  /** CLOCK_MONOTONIC in milliseconds, for deadlines. */
  monotonicMilliseconds?: () => bigint;
}

/** Connections at the same time; charon needs one. */
const CONNECTIONS_MAX = 32;
/** Malformed messages that one connection may send. */
const MALFORMED_MAX = 16;
/** Messages of one connection in one round. */
const BURST = 16;
/** Nanoseconds to wait for the next call behind the last one, before the loop sleeps in the pool. */
const LINGER = 100_000n;
/** Milliseconds of uninterrupted rounds after which others of the event loop have their turn. */
const TURN = 5;
/** Milliseconds without accepting after accept() has failed, most likely for want of descriptors. */
const ACCEPT_PAUSE = 1000;

/** Milliseconds in the pool at a time: a process that ends because of an error waits for the pool's threads. */
const LONGEST_SLEEP = 1000;

interface Connection {
  readonly fd: number;
  readonly peer: Peer;
  /** For logs. */
  name: string;
  /** `undefined` until hello. */
  session: bigint | undefined;
  /** Our clock minus the client's, in milliseconds: not 0 in a time namespace. */
  clockOffset: bigint;
  malformed: number;
}

export class CharonService {
  readonly #options: CharonServiceOptions;
  readonly #kernel: Kernel;
  readonly #log: Logger;
  readonly #now: () => bigint;
  readonly #listener: number;
  readonly #inode: bigint;
  readonly #wake = eventfd();
  readonly #connections = new Set<Connection>();
  /** How many connections each session has. */
  readonly #sessions = new Map<bigint, number>();
  readonly #input = new Uint8Array(MESSAGE_MAX);
  readonly #output = new MessageBuffer(4096);
  readonly #lingerTime = new BigInt64Array([0n, LINGER]);
  /** struct pollfd of the eventfd, the listener and each of `#polled`. */
  #fds = new Int32Array(0);
  #polled: Connection[] = [];
  #changed = true;
  #accepting = true;
  #stopping = false;
  readonly #ended: Promise<void>;

  /**
   * Listens and begins to serve.
   * @throws when `path` cannot be listened at
   */
  static listen(options: CharonServiceOptions): CharonService {
    return new CharonService(options);
  }

  private constructor(options: CharonServiceOptions) {
    this.#options = options;
    this.#kernel = options.kernel;
    this.#log = options.logger;
    this.#now = options.monotonicMilliseconds ?? (() => process.hrtime.bigint() / 1_000_000n);
    this.#listener = listenAt(options.path);
    this.#inode = inodeOf(options.path) ?? 0n;
    this.#ended = this.#run();
  }

  /** Sessions that are connected now. */
  get sessions(): bigint[] {
    return [...this.#sessions.keys()];
  }

  /**
   * Sends an event to every session. An event that does not go out because charon does not read is lost, as charon
   * expects of a kernel.
   * @returns how many connections it was sent to
   */
  sendEvent(event: Event): number {
    let sent = 0;
    const length = encodeEvent(this.#output, event);
    for (const connection of this.#connections) {
      if (connection.session === undefined) continue;
      if (this.#send(connection, length)) sent++;
      else this.#log.warn(`${connection.name}: ${event.event} event lost: ${errorName(errno())}`);
    }
    return sent;
  }

  /** Stops listening, closes all connections and removes the socket file. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#wakeUp();
    await this.#ended;
  }

  #wakeUp(): void {
    write(this.#wake, new BigUint64Array([1n]), 8);
  }

  async #run(): Promise<void> {
    try {
      while (!this.#stopping) {
        this.#preparePoll();
        await pollAsync(this.#fds, this.#fds.length / 2, LONGEST_SLEEP);
        await this.#serve();
      }
    } finally {
      this.#shutDown();
    }
  }

  #shutDown(): void {
    for (const connection of [...this.#connections]) this.#disconnect(connection);
    close(this.#listener);
    close(this.#wake);
    // Somebody who thought us dead may listen there by now.
    if (inodeOf(this.#options.path) === this.#inode) unlinkSync(this.#options.path);
  }

  /** Rounds of work until there is none for a moment. */
  async #serve(): Promise<void> {
    let turnEnds = performance.now() + TURN;
    while (!this.#stopping) {
      this.#preparePoll();
      if (ppoll(this.#fds, this.#fds.length / 2, this.#lingerTime, null) <= 0) return;
      this.#round();
      if (performance.now() > turnEnds) {
        await nextTurn();
        turnEnds = performance.now() + TURN;
      }
    }
  }

  #preparePoll(): void {
    if (!this.#changed) return;
    this.#changed = false;
    this.#polled = [...this.#connections];
    // poll() ignores negative descriptors.
    const listener = this.#accepting ? this.#listener : -1;
    const fds = [this.#wake, listener, ...this.#polled.map(({ fd }) => fd)];
    this.#fds = Int32Array.from(fds.flatMap((fd) => [fd, POLLIN]));
  }

  /** Serves what poll() has reported: `revents` is the upper half of a pollfd's second word. */
  #round(): void {
    const fds = this.#fds;
    const polled = this.#polled;
    const ready = (index: number) => fds[2 * index + 1] >>> 16 !== 0;
    if (ready(0)) read(this.#wake, new BigUint64Array(1), 8);
    for (let i = 0; i < polled.length; i++) if (ready(i + 2)) this.#receive(polled[i]);
    if (ready(1)) this.#accept();
  }

  #accept(): void {
    for (;;) {
      const fd = accept(this.#listener);
      if (fd < 0) {
        const error = errorName(errno());
        if (error === "EAGAIN") return;
        if (error === "EINTR" || error === "ECONNABORTED") continue;
        this.#log.warn(`accept on ${this.#options.path}: ${error}; trying again in ${ACCEPT_PAUSE} ms`);
        this.#pauseAccepting();
        return;
      }
      this.#welcome(fd);
    }
  }

  #pauseAccepting(): void {
    this.#accepting = false;
    this.#changed = true;
    setTimeout(() => {
      this.#accepting = true;
      this.#changed = true;
      if (!this.#stopping) this.#wakeUp();
    }, ACCEPT_PAUSE).unref();
  }

  #welcome(fd: number): void {
    const peer = peerOf(fd);
    this.#makeRoom(peer);
    const objection = this.#objectionTo(peer);
    if (objection !== undefined) {
      this.#log.warn(`refused a connection of process ${peer.pid}, user id ${peer.uid}: ${objection}`);
      close(fd);
      return;
    }
    const name = `process ${peer.pid}`;
    this.#connections.add({ fd, peer, name, session: undefined, clockOffset: 0n, malformed: 0 });
    this.#changed = true;
  }

  /** Connections on which nobody has said hello shall not keep charon out: the oldest of them goes when there are too many. */
  #makeRoom(peer: Peer): void {
    if (this.#connections.size < CONNECTIONS_MAX) return;
    const silent = [...this.#connections].find(({ session }) => session === undefined);
    if (!silent) return;
    this.#log.warn(`${silent.name}: closed without a hello, to make room for process ${peer.pid}`);
    this.#disconnect(silent);
  }

  #objectionTo(peer: Peer): string | undefined {
    if (peer.uid !== 0 && peer.uid !== process.geteuid?.()) {
      return "only root and Vita's own user may install keys";
    }
    return this.#connections.size < CONNECTIONS_MAX
      ? undefined
      : `there are ${CONNECTIONS_MAX} connections already`;
  }

  #disconnect(connection: Connection): void {
    if (!this.#connections.delete(connection)) return;
    close(connection.fd);
    this.#changed = true;
    const { session } = connection;
    if (session === undefined) return;
    const left = (this.#sessions.get(session) ?? 1) - 1;
    if (left > 0) {
      this.#sessions.set(session, left);
      return;
    }
    this.#sessions.delete(session);
    this.#log.info(`${connection.name} disconnected`);
    this.#guard("sessionClosed", () => this.#kernel.sessionClosed(session));
  }

  /** Runs a method of the Kernel that must not throw, and reports it when it does. */
  #guard(what: string, run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#log.warn(`${what} broke: ${messageOf(error)}`);
    }
  }

  #receive(connection: Connection): void {
    for (let i = 0; i < BURST && this.#connections.has(connection); i++) {
      const length = recv(connection.fd, this.#input, MESSAGE_MAX, MSG_DONTWAIT | MSG_TRUNC);
      if (length < 0) {
        const error = errorName(errno());
        if (error === "EINTR") continue;
        if (error !== "EAGAIN") this.#disconnect(connection);
        return;
      }
      if (length === 0) {
        this.#disconnect(connection);
        return;
      }
      const bytes = this.#input.subarray(0, Math.min(length, MESSAGE_MAX));
      try {
        this.#message(connection, bytes, length);
      } catch (error) {
        // An error of our own: it must not cost the others their service.
        this.#log.warn(`${connection.name}: closed: ${messageOf(error)}`);
        this.#disconnect(connection);
      } finally {
        // It may have held keys.
        bytes.fill(0);
      }
    }
  }

  #message(connection: Connection, bytes: Uint8Array, length: number): void {
    const request = this.#decode(connection, bytes, length);
    if (request === undefined) return;
    if (request.call === "hello") {
      this.#reply(connection, encodeHelloAnswer(this.#output, this.#hello(connection, request)));
    } else {
      this.#reply(connection, encodeAnswer(this.#output, this.#call(connection, request)));
    }
  }

  /** A message that is refused has been answered when this returns `undefined`. */
  #decode(connection: Connection, bytes: Uint8Array, length: number): Request | undefined {
    try {
      if (length > MESSAGE_MAX) throw new DecodeError(`message of ${length} bytes, more than ${MESSAGE_MAX}`);
      return decodeRequest(bytes);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#refuse(connection, bytes, error);
      return undefined;
    }
  }

  #hello(connection: Connection, { id, body }: { id: number; body: Hello }): HelloAnswer {
    const { bootId, features } = this.#options;
    if (connection.session !== undefined) {
      this.#log.warn(`${connection.name}: a second hello on one connection`);
      return helloRefusal(id, "a second hello on one connection");
    }
    const name = `${body.software} (process ${connection.peer.pid})`;
    const { session } = body;
    const connections = this.#sessions.get(session) ?? 0;
    if (connections === 0) {
      try {
        this.#kernel.sessionOpened(session);
      } catch (error) {
        this.#log.warn(`${name}: sessionOpened broke: ${messageOf(error)}`);
        return helloRefusal(id, "an error inside Vita, its log says more");
      }
    }
    connection.name = name;
    connection.session = session;
    connection.clockOffset = this.#now() - body.clock;
    this.#sessions.set(session, connections + 1);
    this.#log.info(`${name} connected, session ${session.toString(16).padStart(16, "0")}`);
    return { call: "hello", id, status: Status.success, bootId, features, reason: "" };
  }

  #call(connection: Connection, request: KernelRequest): CallAnswer {
    const { call, id, deadline } = request;
    const { session, name } = connection;
    if (session === undefined) {
      this.#log.warn(`${name}: ${call} before hello`);
      return answerWith(call, id, Status.failed, `${call} before hello`);
    }
    if (deadline !== 0n) {
      const late = this.#now() - (deadline + connection.clockOffset);
      if (late > 0n) {
        this.#log.warn(`${name}: ${call} not begun, its time limit was over ${late} ms ago`);
        return answerWith(call, id, Status.failed, "its time limit is over");
      }
    }
    try {
      const answer = dispatch(this.#kernel, request, session);
      if (isNews(answer)) {
        this.#log.warn(`${name}: ${call} failed${answer.reason === "" ? "" : `: ${answer.reason}`}`);
      }
      return answer;
    } catch (error) {
      this.#log.warn(`${name}: ${call} broke: ${messageOf(error)}`);
      return answerWith(call, id, Status.failed, "an error inside Vita, its log says more");
    }
  }

  /** Answers a message that could not be decoded. */
  #refuse(connection: Connection, bytes: Uint8Array, error: DecodeError): void {
    const { name } = connection;
    if (error instanceof VersionError) {
      this.#log.warn(
        `${name} speaks version ${error.version} of the protocol, this Vita version ${VERSION}: ` +
          "build and install the plugin that belongs to it and restart charon",
      );
    } else {
      this.#log.warn(`${name}: ${error.message}`);
    }
    // The header may not have been read; what it holds was checked for nothing, and is only sent back.
    const { offset } = HeaderLayout;
    if (bytes.length >= offset.id + 4) {
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const id = view.getUint32(offset.id, true);
      const type = view.getUint16(offset.type, true);
      // The answer's type is the message's with ANSWER set: also a message that claims to be an answer already.
      const length =
        (type & ~ANSWER) === CallType.hello
          ? encodeHelloAnswer(this.#output, helloRefusal(id, error.message))
          : encodeRefusal(this.#output, type, id, Status.failed, error.message);
      this.#reply(connection, length);
    }
    connection.malformed++;
    if (connection.malformed >= MALFORMED_MAX && this.#connections.has(connection)) {
      this.#log.warn(`${name}: closed after ${MALFORMED_MAX} malformed messages`);
      this.#disconnect(connection);
    }
  }

  /** Sends the answer that is in `#output`. */
  #reply(connection: Connection, length: number): void {
    if (this.#send(connection, length)) return;
    const error = errorName(errno());
    const why = error === "EAGAIN" ? "it does not read its answers" : error;
    this.#log.warn(`${connection.name}: closed: ${why}`);
    this.#disconnect(connection);
  }

  #send(connection: Connection, length: number): boolean {
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    return sendto(connection.fd, this.#output.bytes, length, flags, null, 0) === length;
  }
}

function helloRefusal(id: number, reason: string): HelloAnswer {
  return { call: "hello", id, status: Status.failed, bootId: 0n, features: 0, reason };
}

/** Deletions of what never was, and the IPComp that nobody has, are everyday answers. */
function isNews({ call, status }: CallAnswer): boolean {
  return status === Status.failed || (status === Status.notSupported && call !== "get_cpi");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function inodeOf(path: string): bigint | undefined {
  try {
    return lstatSync(path, { bigint: true }).ino;
  } catch {
    return undefined;
  }
}
