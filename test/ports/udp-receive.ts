// Receives datagrams until they stop coming for 2.5 seconds, and prints where each came from.
//
//   udp-receive.js PORT READY-FILE

import { createSocket } from "node:dgram";
import { writeFileSync } from "node:fs";
import { report } from "./child.js";

const [port, ready] = [Number(process.argv[2]), process.argv[3]];
const got: string[] = [];
const sockets = [createSocket({ type: "udp4" }), createSocket({ type: "udp6", ipv6Only: true })];
let timer = setTimeout(end, 10_000);
for (const socket of sockets) {
  socket.on("message", (data, from) => {
    got.push(`${from.address} ${data.toString("latin1")}`);
    clearTimeout(timer);
    timer = setTimeout(end, 2500);
  });
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.bind(port, resolve);
  });
}
writeFileSync(ready, "");

function end(): void {
  for (const socket of sockets) socket.close();
  report(got);
}
