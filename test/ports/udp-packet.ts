// IP packets, from the IP header on, with checksums as they should be.

import { type IpAddress, parseAddress } from "../../src/net/address.js";
import { fold, pseudoHeader4, pseudoHeader6, sum16 } from "../../src/net/checksum.js";

const u16 = (value: number) => [value >>> 8, value & 0xff];

export function ipPacket(source: string, destination: string, protocol: number, payload: Uint8Array) {
  const [from, to] = [parseAddress(source) as IpAddress, parseAddress(destination) as IpAddress];
  const header =
    from.length === 4
      ? [0x45, 0, ...u16(20 + payload.length), 0, 0, 0x40, 0, 64, protocol, 0, 0]
      : [0x60, 0, 0, 0, ...u16(payload.length), protocol, 64];
  const packet = Uint8Array.from([...header, ...from, ...to, ...payload]);
  const view = new DataView(packet.buffer);
  if (from.length === 4) view.setUint16(10, fold(sum16(view, 0, 20, 0)));
  return packet;
}

export function udpPacket(source: string, destination: string, port: number, payload: string | Uint8Array) {
  const data = typeof payload === "string" ? Buffer.from(payload, "latin1") : payload;
  const length = 8 + data.length;
  const udp = Uint8Array.from([...u16(40000), ...u16(port), ...u16(length), 0, 0, ...data]);
  const packet = ipPacket(source, destination, 17, udp);
  const view = new DataView(packet.buffer);
  const ipv4 = packet[0] >>> 4 === 4;
  const at = ipv4 ? 20 : 40;
  const pseudo = ipv4 ? pseudoHeader4(view, 0, 17, length) : pseudoHeader6(view, 0, 17, length);
  view.setUint16(at + 6, fold(sum16(view, at, length, pseudo)) || 0xffff);
  return packet;
}
