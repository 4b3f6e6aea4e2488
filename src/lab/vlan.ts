// Networks of customers on one LAN link: a virtual Ethernet device a customer on each end of it. They are VLANs where the
// kernel knows them; else VXLANs over the link, which are as much devices on top of another one, without an XDP of their own.

import { run } from "./command.js";
import { addAddress, createLink, type LinkEnd } from "./netns.js";

export interface Trunk {
  /** The two ends of the link, with the address of each. */
  near: LinkEnd & { address: string };
  far: LinkEnd & { address: string };
}

let kernelKnowsVlans: boolean | undefined;

/** Adds the network number `id` of a trunk to its near end: a device called `lan0.100`, for example. */
async function addDevice(id: number, from: Trunk["near"], to: Trunk["near"]): Promise<string> {
  const { namespace, device } = from;
  const name = `${device}.${id}`;
  const add = (...args: string[]) =>
    run("ip", ["-n", namespace, "link", "add", ...args], { tolerate: kernelKnowsVlans === undefined });
  if (kernelKnowsVlans !== false) {
    const { status } = await add("link", device, "name", name, "type", "vlan", "id", String(id));
    kernelKnowsVlans = status === 0;
  }
  if (!kernelKnowsVlans) {
    const ends = ["local", from.address, "remote", to.address, "dev", device];
    await add("name", name, "type", "vxlan", "id", String(id), ...ends, "dstport", "4789");
  }
  await run("ip", ["-n", namespace, "link", "set", name, "mtu", "1400", "up"]);
  return name;
}

export interface Customer {
  /** Where its host is, and the host's address there, as `10.0.0.2/24`. */
  namespace: string;
  address: string;
  /** The gateway in the customer's network. */
  gateway: string;
}

/** Connects a customer's host to the near end of a trunk, through its far end. */
export async function addCustomer(trunk: Trunk, id: number, customer: Customer): Promise<string> {
  const { near, far } = trunk;
  const device = await addDevice(id, near, far);
  const inner = await addDevice(id, far, near);
  const ip = (...args: string[]) => run("ip", ["-n", far.namespace, ...args]);
  await createLink(
    { namespace: customer.namespace, device: "lan0", addresses: [customer.address] },
    { namespace: far.namespace, device: `to-${id}` },
    { mtu: 1400 },
  );
  await ip("link", "add", `br-${id}`, "type", "bridge", "mcast_snooping", "0", "forward_delay", "0");
  for (const port of [inner, `to-${id}`]) await ip("link", "set", port, "master", `br-${id}`);
  await ip("link", "set", `br-${id}`, "up");
  const bits = customer.address.slice(customer.address.indexOf("/"));
  await addAddress(near.namespace, device, `${customer.gateway}${bits}`);
  await run("ip", ["-n", customer.namespace, "route", "add", "default", "via", customer.gateway]);
  return device;
}
