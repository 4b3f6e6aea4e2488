// Sends packets from foreign addresses by the slow path, the first ones to neighbours that nobody has resolved yet.

import { spawnSync } from "node:child_process";
import { SlowPath } from "../../src/ports/slow-path.js";
import { report } from "./child.js";
import { testContext } from "./context.js";
import { udpPacket } from "./udp-packet.js";

const { frames } = testContext(8);
const slowPath = new SlowPath(frames, "p0");
const neighbours = spawnSync("ip", ["neigh", "show", "dev", "p0"], { encoding: "utf8" }).stdout;

function send(packet: Uint8Array): boolean {
  const frame = frames.from(packet);
  const taken = slowPath.send(frames.offset[frame], packet.length);
  frames.free(frame);
  return taken;
}

const taken: boolean[] = [];
for (let i = 0; i < 20; i++) {
  taken.push(send(udpPacket("203.0.113.7", "192.0.2.2", 7000, `direct ${i}`)));
  taken.push(send(udpPacket("203.0.113.7", "10.20.0.9", 7000, `routed ${i}`)));
  taken.push(send(udpPacket("2001:db8:f::7", "2001:db8::2", 7000, `direct ${i}`)));
  taken.push(send(udpPacket("2001:db8:f::7", "2001:db8:20::9", 7000, `routed ${i}`)));
}
const large = send(udpPacket("203.0.113.7", "192.0.2.2", 7000, "x".repeat(1500)));
const large6 = send(udpPacket("2001:db8:f::7", "2001:db8::2", 7000, "x".repeat(1500)));
const noIp = send(new Uint8Array(40));
const noRoute = send(udpPacket("2001:db8:f::7", "2001:db8:21::9", 7000, "nowhere"));

// Calls that are cheap to repeat: the neighbour is known by now.
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
const frame = frames.from(udpPacket("203.0.113.7", "192.0.2.2", 7001, "time"));
const start = process.hrtime.bigint();
const rounds = 20_000;
for (let i = 0; i < rounds; i++) slowPath.send(frames.offset[frame], frames.length[frame]);
const nsPerPacket = Math.round(Number(process.hrtime.bigint() - start) / rounds);
slowPath.close();
report({ neighbours, taken, large, large6, noIp, noRoute, nsPerPacket });
