// Trains of packets to and from the kernel, with the kernel as the judge: it forwards what is written to the first device to
// one that segments here and to one for which it does so itself, and both must give the packets of which the trains were made.
// Then the kernel's own TCP and UDP talk to themselves through a device that turns their packets around.
//
//   tun-offload.js

import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";
import { Link } from "../../src/engine/link.js";
import {
  AF_INET,
  bind,
  close,
  ioctl,
  readv,
  SOCK_DGRAM,
  sendto,
  setsockopt,
  socket,
} from "../../src/native/libc.js";
import { IoVectors } from "../../src/ports/iovec.js";
import {
  ACK,
  CWR,
  type FlowPacket,
  faultOf,
  flowPacket,
  internetChecksum,
  PSH,
} from "../../src/ports/testing/flow-packets.js";
import { createTun, deleteTun, openTun } from "../../src/ports/tun.js";
import { TunPort } from "../../src/ports/tun-port.js";
import { report } from "./child.js";
import { testContext } from "./context.js";

const ip = (text: string) => {
  const { status, stderr } = spawnSync("ip", text.split(" "), { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${text}: ${stderr}`);
};
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const context = testContext(1024);
const { frames } = context;
const open = (device: string) => {
  const output = new Link(frames);
  return { port: new TunPort(context, { name: device, output }), output };
};
const link = (device: string, four: string, six: string) => {
  createTun(device, 1500, false);
  ip(`address add ${four} dev ${device}`);
  ip(`-6 address add ${six} dev ${device} nodad`);
  ip(`link set ${device} up`);
};
link("in0", "10.0.0.254/24", "fd00::fe/64");
link("cut0", "10.1.0.254/24", "fd01::fe/64");
link("ker0", "10.2.0.254/24", "fd02::fe/64");
for (const name of ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"])
  spawnSync("sysctl", ["-q", "-w", `${name.replaceAll("/", ".")}=1`]);

// ---- forwarding --------------------------------------------------------------------------------------------------

/** A flow: segments that belong together, of which some do not. */
function flow(index: number, network: number): Uint8Array[] {
  const version = index % 2 === 0 ? 4 : 6;
  const base: FlowPacket = {
    version,
    protocol: index < 4 ? "tcp" : "udp",
    source: version === 4 ? "10.0.0.1" : "fd00::1",
    destination: version === 4 ? `10.${network}.0.2` : `fd0${network}::2`,
    ports: [1000 + index, 2000],
    payload: randomBytes(index % 3 === 0 ? 1400 : 501),
    fragment: index < 2 ? 0x4000 : 0,
    options: index === 2 ? Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2) : new Uint8Array(),
    tos: index === 3 ? 2 : 0,
  };
  let sequence = 0xffff_f000;
  return Array.from({ length: 30 }, (_, i) => {
    const { length } = base.payload;
    const payload = i % 17 === 16 ? randomBytes(77) : randomBytes(length);
    const flags = ACK | (i % 11 === 10 ? PSH : 0) | (i === 20 ? CWR : 0);
    const packet = flowPacket({ ...base, payload, id: (0xfff8 + i) & 0xffff, sequence, flags });
    sequence = (sequence + payload.length) >>> 0;
    return packet;
  });
}

/** What a router makes of a packet. */
function forwarded(packet: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(packet);
  if (copy[0] >>> 4 === 6) {
    copy[7]--;
    return copy;
  }
  copy[8]--;
  copy.fill(0, 10, 12);
  const checksum = internetChecksum(copy.subarray(0, 20));
  copy[10] = checksum >>> 8;
  copy[11] = checksum & 0xff;
  return copy;
}

const input = open("in0");
const cutting = open("cut0");
const { fd: kernelFd } = openTun("ker0", false);
const TUNSETOFFLOAD = 0x400454d0;
ioctl(kernelFd, TUNSETOFFLOAD, 0n, "no offloads");
const vectors = new IoVectors(frames.region, 1);
const buffer = frames.reserve(4096);
vectors.set(0, buffer, 4096);

const sent: Record<"cut" | "kernel", Uint8Array[]> = { cut: [], kernel: [] };
const arrived: Record<"cut" | "kernel", Uint8Array[]> = { cut: [], kernel: [] };
const flows = [0, 1, 2, 3, 4, 5].flatMap((index) => [1, 2].map((network) => flow(index, network)));
for (let i = 0; i < 30; i++)
  for (const [index, packets] of flows.entries()) {
    sent[index % 2 === 0 ? "cut" : "kernel"].push(packets[i]);
    const frame = frames.from(packets[i]);
    input.port.sink.input.transmit(frame);
  }
input.port.sink.push();
for (let wait = 0; wait < 100; wait++) {
  cutting.port.source.pull(128);
  while (cutting.output.readable > 0) {
    const frame = cutting.output.receive();
    arrived.cut.push(frames.copy(frame));
    frames.free(frame);
  }
  for (let n = readv(kernelFd, vectors.address, 1); n > 0; n = readv(kernelFd, vectors.address, 1))
    arrived.kernel.push(frames.bytes.slice(buffer + 10, buffer + n));
  if (arrived.cut.length >= sent.cut.length && arrived.kernel.length >= sent.kernel.length) break;
  await sleep(10);
}
close(kernelFd);
const isMulticast = (packet: Uint8Array) => packet[0] >>> 4 === 6 && packet[24] === 0xff;
const lines = (packets: Uint8Array[]) => {
  const port = (packet: Uint8Array) => packet[packet[0] >>> 4 === 4 ? 21 : 41];
  // Flow by flow, each in its order.
  return packets
    .filter((packet) => !isMulticast(packet))
    .map((packet, i) => ({ packet, i, flow: port(packet) }))
    .sort((a, b) => a.flow - b.flow || a.i - b.i)
    .map(({ packet }) => Buffer.from(packet).toString("hex"));
};
const equal = (name: "cut" | "kernel") => {
  const expected = lines(sent[name].map(forwarded));
  const got = lines(arrived[name]);
  return {
    expected: expected.length,
    got: got.length,
    same: expected.filter((line, i) => line === got[i]).length,
  };
};
const forwarding = { cut: equal("cut"), kernel: equal("kernel") };
const forwardingCounters = context.read();
input.port.close();
cutting.port.close();
for (const device of ["in0", "cut0", "ker0"]) deleteTun(device);

// ---- the kernel talks to itself ----------------------------------------------------------------------------------

link("echo0", "10.77.0.1/24", "fd77::1/64");
const { port: echo, output } = open("echo0");
let faults = 0;
let running = true;
function swap(offset: number, length: number): void {
  const first = frames.bytes.slice(offset, offset + length);
  frames.bytes.copyWithin(offset, offset + length, offset + 2 * length);
  frames.bytes.set(first, offset + length);
}
const turning = (async () => {
  while (running) {
    for (let i = 0; i < 8; i++) {
      echo.source.pull(128);
      while (output.readable > 0) {
        const frame = output.receive();
        const at = frames.offset[frame];
        const packet = frames.copy(frame);
        if (isMulticast(packet)) {
          frames.free(frame);
          continue;
        }
        if (faultOf(packet) !== undefined) faults++;
        // Sums stay what they are when addresses change places.
        if (frames.bytes[at] >>> 4 === 4) swap(at + 12, 4);
        else swap(at + 8, 16);
        echo.sink.input.transmit(frame);
      }
      echo.sink.push();
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
})();

const data = randomBytes(4 << 20);
async function stream(address: string, host: string): Promise<string> {
  const hash = createHash("sha256");
  const server = createServer((socket) => {
    socket.on("data", (chunk) => hash.update(chunk));
    socket.on("end", () => socket.end());
  });
  await new Promise<void>((resolve) => server.listen(7000, address, resolve));
  await new Promise<void>((resolve, reject) => {
    const client = connect(7000, host, () => client.end(data));
    client.resume().on("close", resolve).on("error", reject);
  });
  server.close();
  return hash.digest("hex");
}

/** Datagrams by UDP_SEGMENT: the kernel gets them in one call, and the device in one piece. */
async function datagrams(): Promise<number[]> {
  const lengths: number[] = [];
  const receiver = createSocket("udp4");
  receiver.on("message", (message) => lengths.push(message.length));
  await new Promise<void>((resolve) => receiver.bind(7001, "10.77.0.1", resolve));
  const fd = socket(AF_INET, SOCK_DGRAM, 0);
  const sockaddr = (host: number[], port: number) =>
    Uint8Array.of(AF_INET, 0, port >>> 8, port & 0xff, ...host, ...new Array<number>(8).fill(0));
  bind(fd, sockaddr([10, 77, 0, 1], 7002));
  const SOL_UDP = 17;
  const UDP_SEGMENT = 103;
  setsockopt(fd, SOL_UDP, UDP_SEGMENT, Int32Array.of(1000));
  sendto(fd, data.subarray(0, 30_500), 30_500, 0, sockaddr([10, 77, 0, 9], 7001), 16);
  for (let wait = 0; wait < 100 && lengths.length < 31; wait++) await sleep(10);
  close(fd);
  receiver.close();
  return lengths;
}

const expected = createHash("sha256").update(data).digest("hex");
const streams = [await stream("10.77.0.1", "10.77.0.9"), await stream("fd77::1", "fd77::9")];
const before = context.read();
const lengths = await datagrams();
running = false;
await turning;
const counters = context.read();
echo.close();
deleteTun("echo0");
report({
  forwarding,
  forwardingCounters,
  faults,
  streams: streams.map((hash) => hash === expected),
  lengths,
  datagramReads: counters["echo0.rx.joined"] - before["echo0.rx.joined"],
  counters,
  lost: frames.capacity - frames.available,
});
process.exit(0);
