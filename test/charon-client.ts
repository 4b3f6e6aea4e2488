// Speaks the protocol of docs/charon-protocol.md as charon's plugin does: for tests and for load. It can send anything,
// also what no plugin would send. Synchronous on purpose: charon's threads wait for their answers as well. A service
// in the same process must therefore run in another thread or process, or `call` be used instead of `callSync`.

import { DecodeError, decodeFromDaemon, type FromDaemon } from "../src/charon/decode.js";
import { encodeRequest, MessageBuffer } from "../src/charon/encode.js";
import {
  type Bodies,
  type Call,
  type CallAnswer,
  type Event,
  type HelloAnswer,
  MESSAGE_MAX,
  type Request,
} from "../src/charon/protocol.js";
import { connectTo } from "../src/charon/socket.js";
import {
  close,
  errno,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  POLLIN,
  poll,
  pollAsync,
  recv,
  SystemError,
  sendto,
} from "../src/native/libc.js";

export type Answer<C extends Call> = C extends "hello" ? HelloAnswer : CallAnswer;

/** A call and what it carries. */
export type AnyCall = { [C in Exclude<Call, "hello">]: { call: C; body: Bodies[C] } }[Exclude<Call, "hello">];

export class CharonClient {
  readonly session: bigint;
  /** Events that arrived while answers were waited for. */
  readonly events: Event[] = [];
  readonly #fd: number;
  readonly #output = new MessageBuffer();
  readonly #input = new Uint8Array(MESSAGE_MAX);
  readonly #poll: Int32Array;
  #lastId = 0;

  /** @throws SystemError when nobody listens at `path` */
  constructor(path: string, session = 1n) {
    this.#fd = connectTo(path);
    this.#poll = Int32Array.from([this.#fd, POLLIN]);
    this.session = session;
  }

  close(): void {
    close(this.#fd);
  }

  /** Sends bytes as they are. */
  sendRaw(bytes: Uint8Array): void {
    if (sendto(this.#fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL, null, 0) < 0) {
      throw new SystemError("send", errno());
    }
  }

  /** Sends a call without waiting and returns its id. */
  send<C extends Call>(call: C, body: Bodies[C], deadline = 0n): number {
    this.#lastId = (this.#lastId % 0xffffffff) + 1;
    const request = { call, id: this.#lastId, deadline, body } as unknown as Request;
    this.sendRaw(this.#output.bytes.subarray(0, encodeRequest(this.#output, request)));
    return this.#lastId;
  }

  hello(): Bodies["hello"] {
    const clock = process.hrtime.bigint() / 1_000_000n;
    return { session: this.session, clock, pid: process.pid, software: "test client" };
  }

  /** Makes a call and blocks this thread until it is answered. */
  callSync<C extends Call>(call: C, body: Bodies[C], deadline = 0n, timeout = 2000): Answer<C> {
    const id = this.send(call, body, deadline);
    for (;;) {
      if (poll(this.#poll, 1, timeout) === 0) throw new Error(`${call}: no answer within ${timeout} ms`);
      const answer = this.#match(this.#read(), call, id);
      if (answer !== undefined) return answer;
    }
  }

  /** Makes a call and lets the event loop run until it is answered. */
  async call<C extends Call>(call: C, body: Bodies[C], deadline = 0n, timeout = 2000): Promise<Answer<C>> {
    const id = this.send(call, body, deadline);
    for (;;) {
      const answer = this.#match(await this.next(timeout), call, id);
      if (answer !== undefined) return answer;
    }
  }

  /**
   * Makes many calls, up to `window` of them ahead of their answers, and blocks this thread. Answers come in the order of
   * the calls.
   * @param answered gets each answer, with the milliseconds since the one before
   */
  pipeline(
    calls: Iterable<AnyCall>,
    window: number,
    answered: (answer: CallAnswer, call: AnyCall, gap: number) => void,
    timeout = 5000,
  ): void {
    const waiting: { call: AnyCall; id: number }[] = [];
    let last = performance.now();
    const take = () => {
      const { call, id } = waiting[0];
      if (poll(this.#poll, 1, timeout) === 0) throw new Error(`${call.call}: no answer within ${timeout} ms`);
      const answer = this.#match(this.#read(), call.call, id);
      if (answer === undefined) return;
      waiting.shift();
      const now = performance.now();
      answered(answer as CallAnswer, call, now - last);
      last = now;
    };
    for (const call of calls) {
      waiting.push({ call, id: this.send<Call>(call.call, call.body) });
      while (waiting.length >= window) take();
    }
    while (waiting.length > 0) take();
  }

  /** The next message; `undefined` when the service has closed the connection. */
  async next(timeout = 2000): Promise<FromDaemon | undefined> {
    if ((await pollAsync(this.#poll, 1, timeout)) === 0) throw new Error(`no message within ${timeout} ms`);
    return this.#read();
  }

  #read(): FromDaemon | undefined {
    const length = recv(this.#fd, this.#input, MESSAGE_MAX, MSG_DONTWAIT);
    if (length < 0) throw new SystemError("recv", errno());
    return length === 0 ? undefined : decodeFromDaemon(this.#input.subarray(0, length));
  }

  /** The answer that belongs to a call; events are kept, anything else is an error. */
  #match<C extends Call>(message: FromDaemon | undefined, call: C, id: number): Answer<C> | undefined {
    if (message === undefined) throw new Error(`${call}: the connection was closed`);
    if (message.kind === "event") {
      this.events.push(message.event);
      return undefined;
    }
    if (message.kind === "refusal") throw new DecodeError(`${call}: refused: ${message.reason}`);
    const { answer } = message;
    if (answer.id !== id || answer.call !== call) {
      throw new Error(`${call} ${id} was answered with ${answer.call} ${answer.id}`);
    }
    return answer as Answer<C>;
  }
}
