// UDP packets from the IP header on, with checksums as they should be.

import { type IpAddress, parseAddress } from "../../src/net/address.js";
import { fold, pseudoHeader4, pseudoHeader6, sum16 } from "../../src/net/checksum.js";

const u16 = (value: number) => [value >>> 8, value & 0xff];

export function udpPacket(source: string, destination: string, port: number, payload: string | Uint8Array) {
  const [from, to] = [parseAddress(source) as IpAddress, parseAddress(destination) as IpAddress];
  const data = typeof payload === "string" ? Buffer.from(payload, "latin1") : payload;
  const length = 8 + data.length;
  const header =
    from.length === 4
      ? [0x45, 0, ...u16(20 + length), 0, 0, 0x40, 0, 64, 17, 0, 0]
      : [0x60, 0, 0, 0, ...u16(length), 17, 64];
  const udp = [...u16(40000), ...u16(port), ...u16(length), 0, 0];
  const packet = Uint8Array.from([...header, ...from, ...to, ...udp, ...data]);
  const view = new DataView(packet.buffer);
  const at = packet.length - length;
  const pseudo = from.length === 4 ? pseudoHeader4(view, 0, 17, length) : pseudoHeader6(view, 0, 17, length);
  view.setUint16(at + 6, fold(sum16(view, at, length, pseudo)) || 0xffff);
  if (from.length === 4) view.setUint16(10, fold(sum16(view, 0, 20, 0)));
  return packet;
}
