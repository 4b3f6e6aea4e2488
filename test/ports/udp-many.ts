// Sends a datagram to each of many addresses, or receives such datagrams. What a datagram holds follows from its number,
// so that the receiver can check every byte.
//
//   udp-many.js send PORT FILE-WITH-ADDRESSES                 (a line each: number, blank, address)
//   udp-many.js receive PORT READY-FILE COUNT                 (ends when COUNT have come, or after 20 seconds)

import { createSocket } from "node:dgram";
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { report } from "./child.js";

function datagram(number: number): Buffer {
  const bytes = Buffer.alloc(100 + (number % 1000));
  for (let i = 4; i < bytes.length; i++) bytes[i] = Math.imul(number + 1, 31) + i;
  bytes.writeUInt32BE(number, 0);
  return bytes;
}

const [what, port, file, count] = process.argv.slice(2);
const socket = createSocket("udp4");

if (what === "send") {
  const lines = readFileSync(file, "utf8").trimEnd().split("\n");
  for (const [i, line] of lines.entries()) {
    const [number, address] = line.split(" ");
    await new Promise<void>((resolve, reject) => {
      socket.send(datagram(Number(number)), Number(port), address, (error) =>
        error ? reject(error) : resolve(),
      );
    });
    // Neither end is here to be overrun.
    if (i % 20 === 19) await sleep(2);
  }
  socket.close();
  report({ sent: lines.length });
} else {
  const numbers: number[] = [];
  let damaged = 0;
  const end = () => {
    clearTimeout(timer);
    socket.close();
    report({ numbers, damaged });
  };
  const timer = setTimeout(end, 20_000);
  socket.on("message", (data) => {
    const number = data.readUInt32BE(0);
    if (!data.equals(datagram(number))) damaged++;
    numbers.push(number);
    if (numbers.length === Number(count)) end();
  });
  socket.bind(Number(port), "0.0.0.0", () => {
    socket.setRecvBufferSize(1 << 20);
    writeFileSync(file, "");
  });
}
