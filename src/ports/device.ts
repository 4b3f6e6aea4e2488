// What a port wants to know about its network device, asked of the kernel with ioctl(2) in the network namespace of this
// thread. sysfs would show the namespace in which it was mounted.

import { AF_INET, close, ioctl, SOCK_DGRAM, SystemError, socket } from "../native/libc.js";
import { fetch, place } from "./scratch.js";

const SIOCGIFFLAGS = 0x8913;
const SIOCSIFMTU = 0x8922;
const SIOCGIFHWADDR = 0x8927;
const SIOCSIFTXQLEN = 0x8943;
const SIOCETHTOOL = 0x8946;
const ETHTOOL_GDRVINFO = 0x03;
const ETHTOOL_GCHANNELS = 0x3c;
const ARPHRD_ETHER = 1;
const NAME_BYTES = 16;
const IFF_RUNNING = 0x40;

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

/** Runs an ethtool command over a structure of `size` bytes; undefined where the driver does not know it. */
function ethtool(name: string, command: number, size: number, what: string): Uint8Array | undefined {
  const argument = new Uint8Array(size);
  new DataView(argument.buffer).setUint32(0, command, true);
  const ifreq = interfaceRequest(name);
  const [at] = place(argument);
  new DataView(ifreq.buffer).setBigUint64(NAME_BYTES, at, true);
  try {
    ask(SIOCETHTOOL, ifreq, what);
  } catch (error) {
    if (error instanceof SystemError && (error.code === "EOPNOTSUPP" || error.code === "ENOTSUP"))
      return undefined;
    throw error;
  }
  return fetch(at, size);
}

const RECEIVE = 20;
const TRANSMIT = 24;

/** struct ethtool_channels */
function queues(name: string, direction: typeof RECEIVE | typeof TRANSMIT): number {
  const channels = ethtool(name, ETHTOOL_GCHANNELS, 36, `queues of ${name}`);
  if (!channels) return 1;
  const view = new DataView(channels.buffer);
  const combined = 32;
  return Math.max(1, view.getUint32(direction, true) + view.getUint32(combined, true));
}

/** How many receive queues the device has in use; 1 where the driver does not tell. */
export function receiveQueues(name: string): number {
  return queues(name, RECEIVE);
}

/** The same for what is sent. */
export function transmitQueues(name: string): number {
  return queues(name, TRANSMIT);
}

/**
 * The device's driver and where it is plugged in, `tun` and `tap` for a TAP device; empty where there is no telling.
 * Undefined when there is no device of that name.
 */
export function driver(name: string): { name: string; bus: string } | undefined {
  try {
    const info = ethtool(name, ETHTOOL_GDRVINFO, 196, `driver of ${name}`);
    if (!info) return { name: "", bus: "" };
    const text = (offset: number) => Buffer.from(info.subarray(offset, offset + 32)).toString("latin1");
    const [driverName] = text(4).split("\0");
    const [bus] = text(100).split("\0");
    return { name: driverName, bus };
  } catch (error) {
    if (error instanceof SystemError && error.code === "ENODEV") return undefined;
    throw error;
  }
}

function setNumber(request: number, name: string, value: number, what: string): void {
  const ifreq = interfaceRequest(name);
  new DataView(ifreq.buffer).setUint32(NAME_BYTES, value, true);
  ask(request, ifreq, what);
}

/** Is the device up, and has a carrier? */
export function isRunning(name: string): boolean {
  const ifreq = interfaceRequest(name);
  ask(SIOCGIFFLAGS, ifreq, `flags of ${name}`);
  return (ifreq[NAME_BYTES] & IFF_RUNNING) !== 0;
}

/** @param mtu bytes of IP packet */
export function setMtu(name: string, mtu: number): void {
  setNumber(SIOCSIFMTU, name, mtu, `setting the MTU of ${name} to ${mtu}`);
}

/** Packets that may wait in the device's queue. */
export function setQueueLength(name: string, packets: number): void {
  setNumber(SIOCSIFTXQLEN, name, packets, `setting the queue length of ${name}`);
}
