// Hands many datagrams to a program on this host that has to share a processor with who hands them over.
//
//   tun-pacing.js              reports how many of them arrived with pauses between them, and without, in turns
//   tun-pacing.js receive      is that program

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Link } from "../../src/engine/link.js";
import { pinToCore, usableCores } from "../../src/native/affinity.js";
import { AF_INET, bind, recv, SOCK_DGRAM, socket } from "../../src/native/libc.js";
import { flowPacket } from "../../src/ports/testing/flow-packets.js";
import { createTun, deleteTun } from "../../src/ports/tun.js";
import { TunPort } from "../../src/ports/tun-port.js";
import { report } from "./child.js";
import { testContext } from "./context.js";

const PORT = 2000;
const LENGTH = 64;
const BATCH = 128;
const BATCHES = 40;
const ROUNDS = 3;

function datagram(payload: Uint8Array, id: number): Uint8Array {
  const ends = { source: "10.0.0.1", destination: "10.0.0.254", ports: [1000, PORT] as [number, number] };
  return flowPacket({ version: 4, protocol: "udp", ...ends, payload, id });
}

// Made before, so that handing them over takes little more than the kernel's time.
const datagrams = Array.from({ length: BATCHES * BATCH }, (_, i) => datagram(new Uint8Array(LENGTH), i));
const last = datagram(new Uint8Array(LENGTH - 1), 0);

/** Counts datagrams until a shorter one comes. */
function receive(): void {
  const fd = socket(AF_INET, SOCK_DGRAM, 0);
  bind(fd, Uint8Array.of(AF_INET, 0, PORT >>> 8, PORT & 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  process.send?.("ready");
  const buffer = new Uint8Array(2048);
  let count = 0;
  while (recv(fd, buffer, buffer.length, 0) === LENGTH) count++;
  process.send?.({ count }, () => process.exit());
}

async function start(): Promise<ChildProcess> {
  // A session of its own, as programs of two services have.
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), "receive"], {
    detached: true,
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  await once(child, "message");
  return child;
}

/** @returns how many datagrams arrived */
async function send(mayPause: boolean): Promise<number> {
  const context = testContext(1024);
  const { frames } = context;
  const port = new TunPort(context, { name: "tun0", output: new Link(frames), mayPause });
  const { input } = port.sink;
  const receiver = await start();
  const result = once(receiver, "message");
  for (let batch = 0; batch < BATCHES; batch++) {
    for (let i = 0; i < BATCH; i++) input.transmit(frames.from(datagrams[batch * BATCH + i]));
    port.sink.push();
  }
  // The last ones may find the socket full as well.
  const isOver = result.then(() => true);
  const pause = () => new Promise<boolean>((resolve) => setTimeout(resolve, 50, false));
  do {
    input.transmit(frames.from(last));
    port.sink.push();
  } while (!(await Promise.race([isOver, pause()])));
  port.close();
  const [{ count }] = (await result) as [{ count: number }];
  return count;
}

if (process.argv[2] === "receive") receive();
else {
  pinToCore(usableCores()[0]);
  createTun("tun0", 1500, false);
  for (const text of ["address add 10.0.0.254/24 dev tun0", "link set tun0 up"])
    spawnSync("ip", text.split(" "), { stdio: ["ignore", "ignore", "inherit"] });
  const result = { sent: 0, paced: 0, unpaced: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    result.sent += datagrams.length;
    result.paced += await send(true);
    result.unpaced += await send(false);
  }
  deleteTun("tun0");
  report(result);
}
