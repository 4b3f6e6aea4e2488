// Opens a port on the device p0 and prints what it took until nothing came for a second and a half.
//
//   device-port.js xdp|packet public|private READY-FILE

import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { Link } from "../../src/engine/link.js";
import { ETHERNET_START } from "../../src/memory/frames.js";
import { formatAddress, type IpAddress, parseAddress } from "../../src/net/address.js";
import { fold, pseudoHeader4, pseudoHeader6, sum16 } from "../../src/net/checksum.js";
import { PacketPort } from "../../src/ports/packet.js";
import { faultOf } from "../../src/ports/testing/flow-packets.js";
import { XdpPort } from "../../src/ports/xdp.js";
import type { Role } from "../../src/ports/xdp-program.js";
import { report } from "./child.js";
import { testContext } from "./context.js";

const [type, role, ready] = [process.argv[2], process.argv[3] as Role, process.argv[4]];
const context = testContext(512);
const { frames } = context;
const { view, bytes } = frames;
const output = new Link(frames);
const options = { name: "port", device: "p0", role, output };
const port = type === "xdp" ? new XdpPort(context, options) : new PacketPort(context, options);
for (const local of ["192.0.2.1", "192.0.2.255", "2001:db8::1", "203.0.113.99"])
  port.setLocal(parseAddress(local) as IpAddress, true);
port.setLocal(parseAddress("203.0.113.99") as IpAddress, false);

/** Something for TCP to talk to behind this gateway's kernel. */
const sink = createServer((socket) => socket.resume());
await new Promise<void>((resolve) => sink.listen(7777, "0.0.0.0", resolve));

/** One line about a packet: addresses, protocol, payload, whether a UDP checksum is right. */
function describe(frame: number): string {
  const ip = frames.offset[frame] + 14;
  const ipv4 = bytes[ip] >>> 4 === 4;
  const end = ip + (ipv4 ? view.getUint16(ip + 2) : 40 + view.getUint16(ip + 4));
  const [from, to] = ipv4
    ? [bytes.slice(ip + 12, ip + 16), bytes.slice(ip + 16, ip + 20)]
    : [bytes.slice(ip + 8, ip + 24), bytes.slice(ip + 24, ip + 40)];
  const protocol = bytes[ip + (ipv4 ? 9 : 6)];
  const at = ip + (ipv4 ? 4 * (bytes[ip] & 15) : 40);
  const flow = `${formatAddress(from)} > ${formatAddress(to)}`;
  const text = (start: number) => Buffer.from(bytes.slice(start, end)).toString("latin1");
  if (protocol !== 17) return `${flow} ${protocol} ${text(at)}`;
  const pseudo = ipv4 ? pseudoHeader4(view, ip, 17, end - at) : pseudoHeader6(view, ip, 17, end - at);
  const good = fold(sum16(view, at, end - at, pseudo)) === 0 ? "good" : "bad";
  return `${flow} udp ${view.getUint16(at + 2)} ${good} ${text(at + 8)}`;
}

/** Has the frame its headroom, and does its IP header begin at a multiple of four? */
const isInPlace = (offset: number) => offset % 2048 >= ETHERNET_START && (offset + 14) % 4 === 0;

writeFileSync(ready, "");
const packets: string[] = [];
const tcp = { packets: 0, faults: 0 };
let misplaced = 0;
let last = Date.now() + 8000;
while (Date.now() < last) {
  port.source.pull(64);
  while (output.readable > 0) {
    const frame = output.receive();
    if (!isInPlace(frames.offset[frame])) misplaced++;
    const line = describe(frame);
    if (line.includes(" 6 ")) {
      tcp.packets++;
      if (faultOf(frames.copy(frame).subarray(14)) !== undefined) tcp.faults++;
    } else packets.push(line);
    last = Date.now() + 1500;
    frames.free(frame);
  }
  port.waiting();
  await new Promise((resolve) => setTimeout(resolve, 2));
}
const inFlight = port instanceof XdpPort ? port.inFlight : 0;
port.close();
sink.close();
report({
  packets,
  tcp,
  misplaced,
  lost: frames.capacity - frames.available - inFlight,
  counters: context.read(),
});
process.exit(0);
