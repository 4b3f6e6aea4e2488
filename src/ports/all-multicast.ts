// Makes a device let every multicast in, which neighbour discovery needs: network cards let in only the groups that the
// kernel has joined. It lasts as long as the socket does, so that nothing has to be put back, however a process ends.

import { AF_PACKET, close, SOCK_RAW, setsockopt, socket } from "../native/libc.js";

const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_MR_ALLMULTI = 2;

/** @returns a socket that hears nothing itself; close it to end the membership */
export function joinAllGroups(device: string, interfaceIndex: number): number {
  const what = `all multicasts of ${device}`;
  // Protocol 0: no packet is copied to it.
  const fd = socket(AF_PACKET, SOCK_RAW, 0, what);
  try {
    // struct packet_mreq: index 4, type 2, address length 2, address 8
    const request = new Uint8Array(16);
    const view = new DataView(request.buffer);
    view.setInt32(0, interfaceIndex, true);
    view.setUint16(4, PACKET_MR_ALLMULTI, true);
    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, request, what);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}
