// The least that a process can do for a packet: `idle-echo ADDRESS PORT asleep|busy` sends back each datagram from that address and
// port, asleep in poll() until one comes, or spinning. What it takes longer asleep is what the machine needs to wake a process.

import {
  AF_INET,
  bind,
  connect,
  POLLIN,
  poll,
  read,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  socket,
  write,
} from "../src/native/libc.js";
import { parseAddress } from "../src/net/address.js";

const [address, port, how] = process.argv.slice(2) as [string, string, string];
const fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0, "UDP socket");
const name = new Uint8Array(16);
const view = new DataView(name.buffer);
view.setUint16(0, AF_INET, true);
view.setUint16(2, Number(port));
bind(fd, name);
name.set(parseAddress(address) as Uint8Array, 4);
connect(fd, name);

const bytes = new Uint8Array(2048);
const fds = new Int32Array([fd, POLLIN]);
const isBusy = how === "busy";
process.stdout.write("ready\n");
for (;;) {
  if (!isBusy) poll(fds, 1, 1000);
  const length = read(fd, bytes, bytes.length);
  if (length > 0) write(fd, bytes, length);
}
