// A flow of numbered UDP datagrams, and the count of what became of it: exact numbers of sent, received, repeated and
// damaged ones, which iperf3 does not give. Runs as two programs, one in each host's namespace:
//
//   node flow.js send ADDRESS PORT RATE      until SIGTERM, RATE datagrams a second
//   node flow.js receive ADDRESS PORT        until SIGTERM
//
// Both print their totals as one line of JSON every tenth of a second and once more at the end.

import { createSocket, type Socket } from "node:dgram";
import { writeSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Bytes of UDP payload. */
const size = 100;

export interface SenderTotals {
  sent: number;
  /** Datagrams that the host's own kernel refused; they do not count as sent. */
  refused: number;
}

export interface ReceiverTotals {
  received: number;
  duplicates: number;
  /** Datagrams whose content is not what was sent. */
  damaged: number;
  /** Datagrams that came after one with a higher number. */
  late: number;
  /** Numbers below the highest one seen that have not come. */
  missing: number;
}

/** Writes datagram `sequence`: its number, and bytes that follow from it. */
export function fill(datagram: Buffer, sequence: number): void {
  datagram.writeUInt32BE(sequence, 0);
  for (let i = 4; i < datagram.length; i++) datagram[i] = (sequence + i) & 0xff;
}

/** Counts datagrams as they arrive. */
export class Tally {
  readonly totals: ReceiverTotals = { received: 0, duplicates: 0, damaged: 0, late: 0, missing: 0 };
  readonly #expected = Buffer.alloc(size);
  #seen = new Uint8Array(1 << 16);
  #highest = -1;

  take(datagram: Buffer): void {
    const sequence = datagram.length === size ? datagram.readUInt32BE(0) : -1;
    // 2^26 is 18 hours at 1,000 a second. A number beyond that is damage, and must not make us allocate.
    if (sequence < 0 || sequence > 1 << 26) {
      this.totals.damaged++;
      return;
    }
    fill(this.#expected, sequence);
    if (!this.#expected.equals(datagram)) {
      this.totals.damaged++;
      return;
    }
    if (sequence >= this.#seen.length) {
      const larger = new Uint8Array(2 ** Math.ceil(Math.log2(sequence + 1)));
      larger.set(this.#seen);
      this.#seen = larger;
    }
    if (this.#seen[sequence] === 1) {
      this.totals.duplicates++;
      return;
    }
    this.#seen[sequence] = 1;
    this.totals.received++;
    if (sequence < this.#highest) this.totals.late++;
    else this.#highest = sequence;
    this.totals.missing = this.#highest + 1 - this.totals.received;
  }
}

// A stalled sender must not make up for lost time in one burst: that would test queues, not the tunnel.
const largestBurst = 16;

/**
 * How many datagrams are due. `credit` is what was left over from the last call, `elapsed` the milliseconds since.
 * The rest is the new credit.
 */
export function due(credit: number, elapsed: number, rate: number): { count: number; rest: number } {
  const total = Math.min(credit + (elapsed * rate) / 1000, largestBurst);
  const count = Math.floor(total);
  return { count, rest: total - count };
}

function open(address: string): Socket {
  return createSocket(address.includes(":") ? "udp6" : "udp4");
}

/** Prints totals now and then; returns how to stop that. */
function report(totals: object): () => void {
  // Synchronous: the last line must be out before the process ends.
  const print = () => writeSync(1, `${JSON.stringify(totals)}\n`);
  print();
  const timer = setInterval(print, 100);
  return () => {
    clearInterval(timer);
    print();
  };
}

function send(address: string, port: number, rate: number): void {
  const socket = open(address);
  const totals: SenderTotals = { sent: 0, refused: 0 };
  // A connected socket hears of ICMP errors; what they mean for the count, the receiver knows.
  socket.on("error", () => {});
  socket.connect(port, address, () => {
    const stopReport = report(totals);
    let last = performance.now();
    let credit = 0;
    let sequence = 0;
    const tick = () => {
      const now = performance.now();
      const { count, rest } = due(credit, now - last, rate);
      last = now;
      credit = rest;
      for (let i = 0; i < count; i++) {
        const datagram = Buffer.allocUnsafe(size);
        fill(datagram, sequence++);
        socket.send(datagram, (error) => {
          if (error) totals.refused++;
          else totals.sent++;
        });
      }
    };
    const timer = setInterval(tick, 1);
    process.once("SIGTERM", () => {
      clearInterval(timer);
      // The callbacks of the last datagrams come first.
      setTimeout(() => {
        stopReport();
        process.exit(0);
      }, 50);
    });
  });
}

function receive(address: string, port: number): void {
  const socket = open(address);
  const tally = new Tally();
  socket.on("message", (datagram) => tally.take(datagram));
  socket.bind(port, address, () => {
    // As much as the kernel allows, so that a moment without CPU time is no loss.
    socket.setRecvBufferSize(4 << 20);
    const stopReport = report(tally.totals);
    process.once("SIGTERM", () => {
      stopReport();
      process.exit(0);
    });
  });
}

export const flowProgram = fileURLToPath(import.meta.url);

if (process.argv[1] === flowProgram) {
  const [, , role, address = "", port, rate] = process.argv;
  if (role === "send") send(address, Number(port), Number(rate));
  else receive(address, Number(port));
}
