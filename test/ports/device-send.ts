// Sends to a device port (device-port.ts): packets that it shall take and packets that it shall leave.
//
//   device-send.js public|private

import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { SlowPath } from "../../src/ports/slow-path.js";
import { report } from "./child.js";
import { testContext } from "./context.js";
import { ipPacket, udpPacket } from "./udp-packet.js";

const { frames } = testContext(8);
const slowPath = new SlowPath(frames, "p1");

function raw(packet: Uint8Array): void {
  const frame = frames.from(packet);
  slowPath.send(frames.offset[frame], packet.length);
  frames.free(frame);
}

/** By an ordinary socket: the kernel leaves the checksum to the device, where that may. */
function datagram(destination: string, port: number, payload: string): Promise<void> {
  const socket = createSocket(destination.includes(":") ? "udp6" : "udp4");
  socket.on("error", () => {});
  return new Promise((resolve) => {
    socket.send(payload, port, destination, () => socket.close(() => resolve()));
  });
}

const text = (payload: string) => Buffer.from(payload, "latin1");
const pairs = [
  ["198.51.100.7", "192.0.2.1", "10.30.0.9"],
  ["2001:db8:f::7", "2001:db8::1", "2001:db8:30::9"],
] as const;

if (process.argv[2] === "public") {
  for (const [from, local, foreign] of pairs) {
    raw(ipPacket(from, local, 50, text("take: ESP")));
    raw(udpPacket(from, local, 4500, "take: ESP in UDP"));
    raw(udpPacket(from, local, 4500, "\xff"));
    raw(udpPacket(from, local, 4500, "\0\0\0\0IKE"));
    raw(udpPacket(from, local, 4500, "abc"));
    raw(udpPacket(from, local, 500, "\0\0\0\0IKE"));
    raw(ipPacket(from, foreign, 50, text("ESP for another host")));
    await datagram(local, 4500, "take: by the kernel");
    await datagram(local, 4500, "\0\0\0\0IKE by the kernel");
  }
} else {
  for (const [from, local, foreign] of pairs) {
    raw(ipPacket(from, foreign, 50, text("take: anything")));
    raw(udpPacket(from, foreign, 9, "take: UDP"));
    raw(udpPacket(from, local, 9, "for the gateway itself"));
    await datagram(foreign, 9, "x".repeat(2000));
    await datagram(foreign, 9, "take: by the kernel");
    await datagram(local, 9, "for the gateway itself");
  }
  raw(udpPacket("198.51.100.7", "192.0.2.255", 9, "broadcast"));
  raw(udpPacket("198.51.100.7", "203.0.113.99", 9, "take: not local any more"));
  raw(udpPacket("2001:db8:f::7", "ff02::1", 9, "multicast"));
  // TCP that the sender's kernel hands over in large pieces.
  await new Promise<void>((resolve) => {
    const socket = connect(7777, "10.30.0.9", () => socket.end(Buffer.alloc(500_000), resolve));
    socket.on("error", () => resolve());
    setTimeout(resolve, 1000);
  });
}
slowPath.close();
report({});
process.exit(0);
