// Which XDP programs are attached to a device: one question to the kernel over NETLINK_ROUTE.

import { AF_NETLINK, check, close, recv, SOCK_RAW, sendto, socket } from "../native/libc.js";
import { linkRequest, xdpPrograms } from "../net/rtnetlink.js";

/**
 * Ids of the programs, none for most devices.
 * @throws SystemError
 */
export function attachedPrograms(index: number): number[] {
  const fd = socket(AF_NETLINK, SOCK_RAW, 0, "route netlink socket");
  try {
    const request = linkRequest(index);
    check(sendto(fd, request, request.length, 0, null, 0), "asking for the XDP program");
    const answer = new Uint8Array(32 << 10);
    const length = check(recv(fd, answer, answer.length, 0), "asking for the XDP program");
    return xdpPrograms(answer.subarray(0, length));
  } finally {
    close(fd);
  }
}
