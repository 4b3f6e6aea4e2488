// What a port wants to know about its network device, asked of the kernel with ioctl(2) in the network namespace of this
// thread. sysfs would show the namespace in which it was mounted.

import { AF_INET, close, ioctl, SOCK_DGRAM, SystemError, socket } from "../native/libc.js";
import { fetch, place } from "./scratch.js";

const SIOCGIFHWADDR = 0x8927;
const SIOCETHTOOL = 0x8946;
const ETHTOOL_GCHANNELS = 0x3c;
const ARPHRD_ETHER = 1;
const NAME_BYTES = 16;

/** struct ifreq with the device's name. */
export function interfaceRequest(name: string): Uint8Array {
  const bytes = Buffer.from(name, "utf8");
  if (bytes.length === 0 || bytes.length >= NAME_BYTES)
    throw new Error(`"${name}" is no interface name: 1 to ${NAME_BYTES - 1} bytes`);
  const ifreq = new Uint8Array(40);
  ifreq.set(bytes);
  return ifreq;
}

function ask(number: number, ifreq: Uint8Array, what: string): void {
  const fd = socket(AF_INET, SOCK_DGRAM, 0);
  try {
    ioctl(fd, number, ifreq, what);
  } finally {
    close(fd);
  }
}

/**
 * The device's Ethernet address, 6 bytes.
 * @throws for devices that have none, and those that do not exist
 */
export function ethernetAddress(name: string): Uint8Array {
  const ifreq = interfaceRequest(name);
  ask(SIOCGIFHWADDR, ifreq, `Ethernet address of ${name}`);
  const type = ifreq[16] | (ifreq[17] << 8);
  if (type !== ARPHRD_ETHER) throw new Error(`${name} is no Ethernet device (its hardware type is ${type})`);
  return ifreq.slice(18, 24);
}

/** How many receive queues the device has in use; 1 where the driver does not tell. */
export function receiveQueues(name: string): number {
  const channels = new Uint8Array(36);
  new DataView(channels.buffer).setUint32(0, ETHTOOL_GCHANNELS, true);
  const ifreq = interfaceRequest(name);
  const [at] = place(channels);
  new DataView(ifreq.buffer).setBigUint64(NAME_BYTES, at, true);
  try {
    ask(SIOCETHTOOL, ifreq, `queues of ${name}`);
  } catch (error) {
    if (error instanceof SystemError && (error.code === "EOPNOTSUPP" || error.code === "ENOTSUP")) return 1;
    throw error;
  }
  const view = new DataView(fetch(at, 36).buffer);
  const rx = 20;
  const combined = 32;
  return Math.max(1, view.getUint32(rx, true) + view.getUint32(combined, true));
}
