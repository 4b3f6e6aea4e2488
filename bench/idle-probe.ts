// Sends single echo requests and measures the time until each answer, spinning meanwhile: `idle-probe icmp ADDRESS COUNT`,
// or `idle-probe udp ADDRESS COUNT PORT` from that port to the same one (idle-echo.ts), in the sender's network namespace. Prints
// the times as JSON.

import {
  AF_INET,
  bind,
  connect,
  read,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_RAW,
  socket,
  write,
} from "../src/native/libc.js";
import { parseAddress } from "../src/net/address.js";
import { finishChecksum } from "../src/net/checksum.js";

export interface Probed {
  readonly microseconds: readonly number[];
}

const IPPROTO_ICMP = 1;
const ECHO_REQUEST = 8;
const ECHO_REPLY = 0;
const IPV4_HEADER = 20;
const IDENTIFIER = process.pid & 0xffff;
/** Milliseconds that an answer may take, and between two requests: at least, and how much it varies. */
const LIMIT = 200;
const PAUSE = 8;
const JITTER = 5;
/**
 * Milliseconds of as many requests as go out, before those that count: the neighbour is found, and V8 compiles the worker's
 * code as it is compiled on a gateway that has seen traffic. The worker answers as many as it is allowed to.
 */
const WARM_UP = 1500;
/** Answered requests behind them, far apart like those that count. */
const SETTLING = 20;
/** Requests that may go without an answer. */
const PATIENCE = 10;

const [transport, address, wantedText, port] = process.argv.slice(2) as [string, string, string, string?];
const isIcmp = transport === "icmp";
/** Bytes in front of the answer's echo header. */
const HEADER = isIcmp ? IPV4_HEADER : 0;

function open(address: string): number {
  const fd = isIcmp
    ? socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMP, "raw socket for ICMP")
    : socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0, "UDP socket");
  const name = new Uint8Array(16);
  new DataView(name.buffer).setUint16(0, AF_INET, true);
  if (!isIcmp) {
    new DataView(name.buffer).setUint16(2, Number(port));
    bind(fd, name);
  }
  name.set(parseAddress(address) as Uint8Array, 4);
  connect(fd, name);
  return fd;
}

const fd = open(address);
const request = new Uint8Array(64);
const view = new DataView(request.buffer);
const answer = new Uint8Array(256);
const answerView = new DataView(answer.buffer);
view.setUint8(0, ECHO_REQUEST);
view.setUint16(4, IDENTIFIER);

function isAnswer(length: number, sequence: number): boolean {
  return (
    length >= HEADER + 8 &&
    answer[HEADER] === (isIcmp ? ECHO_REPLY : ECHO_REQUEST) &&
    answerView.getUint16(HEADER + 4) === IDENTIFIER &&
    answerView.getUint16(HEADER + 6) === sequence
  );
}

/** Microseconds until the answer; undefined when none came within so many milliseconds. */
function probe(sequence: number, limit: number): number | undefined {
  view.setUint16(6, sequence);
  view.setUint16(2, 0);
  finishChecksum(view, 0, request.length, 2);
  const start = performance.now();
  if (write(fd, request, request.length) < 0) return undefined;
  for (;;) {
    const length = read(fd, answer, answer.length);
    const now = performance.now();
    if (length > 0 && isAnswer(length, sequence)) return (now - start) * 1000;
    if (now - start >= limit) return undefined;
  }
}

function flood(): void {
  const end = performance.now() + WARM_UP;
  while (performance.now() < end) probe(0, 0);
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));
const wanted = Number(wantedText);
const microseconds: number[] = [];
let missing = 0;
flood();
for (let i = 1; microseconds.length < wanted; i++) {
  Atomics.wait(sleeper, 0, 0, PAUSE + Math.random() * JITTER);
  const time = probe(i & 0xffff, LIMIT);
  if (time === undefined) {
    if (++missing > PATIENCE) throw new Error(`${address} does not answer`);
  } else if (i > SETTLING) microseconds.push(time);
}
process.stdout.write(`${JSON.stringify({ microseconds } satisfies Probed)}\n`);
