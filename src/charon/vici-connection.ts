// One connection to charon's vici socket. Commands may be sent without waiting for the answers of those before: charon
// takes the packets of a connection one after the other, and answers in that order. For the same reason a command that
// takes long (`initiate`) wants a connection of its own.
//
// Every packet has its length (four bytes, big endian) before it, and begins with its type; packets of a named type go on
// with the name. When charon is silent for too long, or says what cannot be understood, the connection is of no more use
// and is closed: which answer belongs to which command could not be told any more.

import { connect, type Socket } from "node:net";
import {
  decodeMessage,
  encodeMessage,
  PACKET_MAX,
  type ViciFields,
  ViciFormatError,
  ViciSection,
} from "./vici-message.js";

export enum Packet {
  commandRequest = 0,
  commandResponse = 1,
  commandUnknown = 2,
  eventRegister = 3,
  eventUnregister = 4,
  eventConfirm = 5,
  eventUnknown = 6,
  event = 7,
}

/** charon cannot be reached, or went away. */
export class ViciUnreachable extends Error {
  override readonly name = "ViciUnreachable";
  /** Why: the system's code, `ENOENT` say, or words. */
  readonly reason: string;

  constructor(message: string, reason: string) {
    super(message);
    this.reason = reason;
  }
}

/** charon's answer is no: it does not know the command, or says why it did not do it. */
export class ViciRefusal extends Error {
  override readonly name = "ViciRefusal";
  readonly command: string;
  /** The whole answer. */
  readonly answer: ViciSection;

  constructor(command: string, reason: string, answer = new ViciSection()) {
    super(reason);
    this.command = command;
    this.answer = answer;
  }
}

export interface ViciConnectionOptions {
  /** Milliseconds for connecting, and for which charon may be silent while it owes an answer. Default: 10,000. */
  patience?: number;
}

const PATIENCE = 10_000;
const HEADER = 4;

/** Where a URI leads: `unix:///run/charon.vici` or `tcp://127.0.0.1:4502`. */
export function viciAddress(uri: string): { path: string } | { host: string; port: number } {
  if (uri.startsWith("unix:///")) return { path: uri.slice("unix://".length) };
  const [, bracketed, plain, port] = /^tcp:\/\/(?:\[([^\]]+)\]|([^:/]+)):([0-9]{1,5})$/.exec(uri) ?? [];
  const number = Number(port);
  if (port === undefined || number < 1 || number > 65535) {
    throw new Error(`"${uri}" is neither unix:///PATH nor tcp://HOST:PORT`);
  }
  return { host: bracketed ?? plain, port: number };
}

interface Waiting {
  /** Command or event, for errors. */
  name: string;
  isCommand: boolean;
  resolve: (answer: ViciSection) => void;
  reject: (error: Error) => void;
}

export type EventHandler = (message: ViciSection) => void;

export class ViciConnection {
  readonly #socket: Socket;
  readonly #uri: string;
  readonly #patience: number;
  readonly #waiting: Waiting[] = [];
  readonly #handlers = new Map<string, EventHandler>();
  #input: Buffer = Buffer.alloc(0);
  #silence: NodeJS.Timeout | undefined;
  /** What leaves with the end of this tick. */
  readonly #output: Buffer[] = [];
  #end: Error | undefined;
  #isClosed!: (why: Error) => void;
  /** Resolves when the connection is over, with the reason. */
  readonly closed = new Promise<Error>((resolve) => {
    this.#isClosed = resolve;
  });

  /**
   * Connects.
   * @throws ViciUnreachable
   */
  static open(uri: string, options: ViciConnectionOptions = {}): Promise<ViciConnection> {
    const patience = options.patience ?? PATIENCE;
    return new Promise((resolve, reject) => {
      const socket = connect(viciAddress(uri));
      const fail = (why: string) => {
        socket.destroy();
        reject(new ViciUnreachable(`${uri}: ${why}`, why));
      };
      const timer = setTimeout(() => fail(`no connection within ${patience} ms`), patience);
      socket.once("error", (error) => {
        clearTimeout(timer);
        fail((error as NodeJS.ErrnoException).code ?? error.message);
      });
      socket.once("connect", () => {
        clearTimeout(timer);
        socket.removeAllListeners();
        resolve(new ViciConnection(socket, uri, patience));
      });
    });
  }

  private constructor(socket: Socket, uri: string, patience: number) {
    this.#socket = socket;
    this.#uri = uri;
    this.#patience = patience;
    socket.setNoDelay(true);
    socket.on("data", (bytes) => this.#receive(bytes));
    socket.once("error", (error) => this.#fail((error as NodeJS.ErrnoException).code ?? error.message));
    socket.once("close", () => this.#fail("charon closed the connection"));
  }

  get isOpen(): boolean {
    return this.#end === undefined;
  }

  /**
   * Sends a command and waits for its answer.
   * @param fields its message, encoded or not
   * @throws ViciRefusal, ViciUnreachable, ViciFormatError (nothing was sent then)
   */
  async request(command: string, fields: ViciFields | Buffer = {}): Promise<ViciSection> {
    const message = Buffer.isBuffer(fields) ? fields : encodeMessage(fields);
    const answer = await this.#ask(Packet.commandRequest, command, message);
    if (answer.text("success") === "no") {
      throw new ViciRefusal(command, answer.text("errmsg") ?? "charon refuses without a reason", answer);
    }
    return answer;
  }

  /**
   * Sends a command that streams events before its answer, and hands each of them to `onEvent`.
   * @throws as `request` does
   */
  async stream(
    command: string,
    fields: ViciFields,
    event: string,
    onEvent: EventHandler,
  ): Promise<ViciSection> {
    // The three go out at once, and charon keeps their order.
    const registered = this.subscribe(event, onEvent);
    const answer = this.request(command, fields);
    const unregistered = this.unsubscribe(event, onEvent);
    const outcome = await Promise.allSettled([registered, answer, unregistered]);
    for (const part of outcome) if (part.status === "rejected") throw part.reason;
    return answer;
  }

  /**
   * Has every event of a name handed to `handler`, until unsubscribe or the connection's end.
   * @throws ViciRefusal when charon knows no such event
   */
  async subscribe(event: string, handler: EventHandler): Promise<void> {
    if (this.#handlers.has(event)) throw new Error(`the vici event "${event}" is subscribed to already`);
    this.#handlers.set(event, handler);
    try {
      await this.#ask(Packet.eventRegister, event);
    } catch (error) {
      this.#forget(event, handler);
      throw error;
    }
  }

  async unsubscribe(event: string, handler: EventHandler): Promise<void> {
    try {
      await this.#ask(Packet.eventUnregister, event);
    } finally {
      this.#forget(event, handler);
    }
  }

  #forget(event: string, handler: EventHandler): void {
    if (this.#handlers.get(event) === handler) this.#handlers.delete(event);
  }

  /** Ends the connection; what still waits for an answer is rejected. */
  close(): void {
    this.#fail("closed");
  }

  #fail(why: string): void {
    if (this.#end) return;
    this.#end = new ViciUnreachable(`${this.#uri}: ${why}`, why);
    clearTimeout(this.#silence);
    this.#socket.destroy();
    for (const { reject } of this.#waiting.splice(0)) reject(this.#end);
    this.#isClosed(this.#end);
  }

  #ask(type: Packet, name: string, message?: Buffer): Promise<ViciSection> {
    return new Promise((resolve, reject) => {
      if (this.#end) {
        reject(this.#end);
        return;
      }
      const length = 2 + Buffer.byteLength(name) + (message?.length ?? 0);
      if (length > PACKET_MAX) {
        reject(new ViciFormatError(`a packet has at most ${PACKET_MAX} bytes, not ${length}`));
        return;
      }
      const head = Buffer.allocUnsafe(HEADER + 2 + Buffer.byteLength(name));
      head.writeUInt32BE(length, 0);
      head[HEADER] = type;
      head[HEADER + 1] = Buffer.byteLength(name);
      head.write(name, HEADER + 2);
      this.#waiting.push({ name, isCommand: type === Packet.commandRequest, resolve, reject });
      if (this.#waiting.length === 1) this.#beginSilence();
      if (this.#output.length === 0) process.nextTick(() => this.#write());
      this.#output.push(head);
      if (message) this.#output.push(message);
    });
  }

  /** What is asked in one go leaves in one piece: a system call for every part takes charon's time as well. */
  #write(): void {
    if (this.#end) return;
    this.#socket.write(Buffer.concat(this.#output.splice(0)));
  }

  #beginSilence(): void {
    if (this.#waiting.length === 0) {
      clearTimeout(this.#silence);
      this.#silence = undefined;
      return;
    }
    // Thousands of answers come one behind the other.
    if (this.#silence) {
      this.#silence.refresh();
      return;
    }
    this.#silence = setTimeout(
      () => this.#fail(`no answer to "${this.#waiting[0]?.name}" within ${this.#patience} ms`),
      this.#patience,
    );
  }

  #receive(bytes: Buffer): void {
    let input = this.#input.length === 0 ? bytes : Buffer.concat([this.#input, bytes]);
    try {
      while (input.length >= HEADER && !this.#end) {
        const length = input.readUInt32BE(0);
        if (length === 0 || length > PACKET_MAX) throw new ViciFormatError(`a packet of ${length} bytes`);
        if (input.length < HEADER + length) break;
        this.#take(input.subarray(HEADER, HEADER + length));
        input = input.subarray(HEADER + length);
      }
    } catch (error) {
      if (!(error instanceof ViciFormatError)) throw error;
      this.#fail(`what it says cannot be understood: ${error.message}`);
      return;
    }
    this.#input = input;
  }

  #take(packet: Buffer): void {
    const type = packet[0];
    if (type === Packet.event) {
      const end = 2 + (packet[1] ?? 0);
      if (packet.length < end) throw new ViciFormatError("an event without its name");
      const message = decodeMessage(packet.subarray(end));
      // Events show that it lives, too.
      if (this.#waiting.length > 0) this.#silence?.refresh();
      this.#handlers.get(packet.toString("latin1", 2, end))?.(message);
      return;
    }
    const waiting = this.#waiting.shift();
    this.#beginSilence();
    if (waiting?.isCommand && type === Packet.commandResponse) {
      let answer: ViciSection;
      try {
        answer = decodeMessage(packet.subarray(1));
      } catch (error) {
        // It is the connection that fails, with all that wait.
        this.#waiting.unshift(waiting);
        throw error;
      }
      waiting.resolve(answer);
    } else if (waiting?.isCommand && type === Packet.commandUnknown) {
      waiting.reject(new ViciRefusal(waiting.name, `charon knows no command "${waiting.name}"`));
    } else if (waiting && !waiting.isCommand && type === Packet.eventConfirm) {
      waiting.resolve(new ViciSection());
    } else if (waiting && !waiting.isCommand && type === Packet.eventUnknown) {
      waiting.reject(new ViciRefusal(waiting.name, `charon knows no event "${waiting.name}"`));
    } else {
      if (waiting) this.#waiting.unshift(waiting);
      throw new ViciFormatError(`packet of type ${type}, which nobody waits for`);
    }
  }
}
