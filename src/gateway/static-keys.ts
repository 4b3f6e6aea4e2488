// Names of SAs and policy entries, by which those that are there are compared with those that are wanted.

import type { AddSaRequest, PolicyRequest, Selector } from "../ipsec/kernel.js";
import type { IpAddress } from "../net/address.js";

/** What names an SA: inbound the SPI alone. */
export function saKey({ id, inbound }: Pick<AddSaRequest, "id" | "inbound">): string {
  const { spi, dst, mark, interfaceId } = id;
  return inbound ? `in ${spi}` : `out ${spi} ${dst.address} ${mark.value}/${mark.mask} ${interfaceId}`;
}

/** Everything that makes a policy entry the one it is. */
export function policyKey({ id, src, dst, ...entry }: PolicyRequest): string {
  const { direction, srcSelector, dstSelector, mark, interfaceId } = id;
  return [
    `${direction} ${selectorKey(srcSelector)} ${selectorKey(dstSelector)}`,
    `${mark.value}/${mark.mask} ${interfaceId} ${id.interface} ${addressKey(src.address)} ${addressKey(dst.address)}`,
    `${entry.type} ${entry.priorityClass} ${entry.manualPriority} ${entry.mode} ${entry.reqid} ${entry.espSpi}`,
  ].join(" ");
}

function selectorKey({ from, to, protocol, fromPort, toPort }: Selector): string {
  return `${addressKey(from)}-${addressKey(to)}[${protocol}/${fromPort}-${toPort}]`;
}

/** The same for each address alone; one of IPv4 as a number, since bytes take several times as long to write. */
function addressKey(address: IpAddress): string {
  if (address.length !== 4) return address.join();
  return String((address[0] << 24) | (address[1] << 16) | (address[2] << 8) | address[3]);
}
