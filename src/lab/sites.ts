// Two sites behind their gateways, and the network between them:
//
//   host-a ── gw-a ── wan ── gw-b ── host-b
//    LAN A   lan0  wan0  │  wan0  lan0   LAN B
//                     switch, where a capture sees what an eavesdropper would
//
// The WAN is a namespace of its own with a switch in it, because frames that an AF_XDP socket sends or receives never
// pass a packet capture on the gateway's own interface.

import { Charon, type Connection, childName, connectionName, type System } from "./charon.js";
import { run } from "./command.js";
import type { Lab } from "./lab.js";
import { addRoute, createBridge, createLink, setSysctls } from "./netns.js";
import { Vita, type VitaConfiguration } from "./vita.js";

export type Side = "a" | "b";
export const otherSide = { a: "b", b: "a" } as const;

export interface Addresses {
  host: string;
  /** The gateway in its LAN. */
  gateway: string;
  lan: string;
  /** The gateway on the WAN. */
  wan: string;
}

// Documentation addresses (RFC 5737, RFC 3849) and private ones: nothing here can be meant for a real machine.
const plans: Record<4 | 6, { lanBits: number; wanBits: number; sides: Record<Side, Addresses> }> = {
  4: {
    lanBits: 24,
    wanBits: 24,
    sides: {
      a: { host: "10.1.0.2", gateway: "10.1.0.1", lan: "10.1.0.0/24", wan: "192.0.2.1" },
      b: { host: "10.2.0.2", gateway: "10.2.0.1", lan: "10.2.0.0/24", wan: "192.0.2.2" },
    },
  },
  6: {
    lanBits: 64,
    wanBits: 64,
    sides: {
      a: { host: "2001:db8:a::2", gateway: "2001:db8:a::1", lan: "2001:db8:a::/64", wan: "2001:db8:ffff::1" },
      b: { host: "2001:db8:b::2", gateway: "2001:db8:b::1", lan: "2001:db8:b::/64", wan: "2001:db8:ffff::2" },
    },
  },
};

export type Mode = "shared" | "owned";

export interface SitesOptions {
  /** Address family, inside and outside. */
  family: 4 | 6;
  systems: Record<Side, System>;
  /** Who has the public interface of a Vita, and where Vita has it, what it hands to the kernel; default: shared. */
  modes?: Partial<Record<Side, Mode>>;
  punt?: "ike" | "all";
  preSharedKey: string;
  /** Lines of the CHILD_SA's section in swanctl.conf; without them, SAs have no lifetime. */
  childExtra?: string[];
  /** Further lines of the connection's section. */
  connectionExtra?: string[];
  /** Nothing is loaded into the charons: whoever runs the sites does it, over their vici sockets. */
  unconfigured?: boolean;
  /** Plugins of the charons besides those that pre-shared keys need. */
  plugins?: string[];
  /** The whole swanctl.conf of a side, in place of the one connection from LAN to LAN. */
  swanctl?: Partial<Record<Side, string>>;
  /** Further lines of `charon-systemd { }` in strongswan.conf. */
  settings?: string[];
  /** Folders with a Debian of their own, whose charons are run on a side. */
  roots?: Partial<Record<Side, string>>;
  /** Where the system is Vita: its own configuration has the connection, and there is no swanctl.conf. */
  connectionInModel?: boolean;
  /** Changes to Vita's configuration: given the usual one, returns the one to run. */
  vita?: (usual: VitaConfiguration, side: Side) => VitaConfiguration;
}

export interface Gateway {
  side: Side;
  node: string;
  namespace: string;
  system: System;
  charon: Charon;
  /** There when the system is Vita. */
  vita: Vita | undefined;
}

/** The links, without gateways running. */
export interface Network {
  family: 4 | 6;
  sides: Record<Side, Addresses>;
  hosts: Record<Side, string>;
  gateways: Record<Side, string>;
  wan: string;
  /** The switch's port towards gateway A. */
  wanPort: string;
}

export const ikeProposals = "aes128gcm16-prfsha256-x25519";

/** Vita speaks extended sequence numbers; strongSwan's libipsec does not, so that a pair with it agrees on the second. */
const espProposals: Record<System, string> = {
  vita: "aes128gcm16-x25519-esn,aes128gcm16-x25519-noesn",
  libipsec: "aes128gcm16-x25519-noesn",
};

export async function createNetwork(lab: Lab, family: 4 | 6): Promise<Network> {
  const { lanBits, wanBits, sides } = plans[family];
  const names = ["host-a", "host-b", "gw-a", "gw-b", "wan"];
  const [hostA, hostB, gatewayA, gatewayB, wan] = await Promise.all(names.map((name) => lab.namespace(name)));
  const hosts = { a: hostA, b: hostB };
  const gateways = { a: gatewayA, b: gatewayB };
  const link = async (side: Side) => {
    const { host, gateway, wan: wanAddress } = sides[side];
    await createLink(
      { namespace: hosts[side], device: "lan0", addresses: [`${host}/${lanBits}`] },
      { namespace: gateways[side], device: "lan0", addresses: [`${gateway}/${lanBits}`] },
    );
    await createLink(
      { namespace: gateways[side], device: "wan0", addresses: [`${wanAddress}/${wanBits}`] },
      { namespace: wan, device: `to-${side}` },
    );
    await addRoute(hosts[side], "default", gateway);
  };
  await Promise.all([link("a"), link("b")]);
  await createBridge(wan, "switch", ["to-a", "to-b"]);
  return { family, sides, hosts, gateways, wan, wanPort: "to-a" };
}

export function connectionOf(network: Network, side: Side, options: SitesOptions): Connection {
  const local = network.sides[side];
  const remote = network.sides[otherSide[side]];
  const withLibipsec = Object.values(options.systems).includes("libipsec");
  return {
    localId: `gw-${side}`,
    remoteId: `gw-${otherSide[side]}`,
    localAddress: local.wan,
    remoteAddress: remote.wan,
    localSelectors: [local.lan],
    remoteSelectors: [remote.lan],
    preSharedKey: options.preSharedKey,
    ikeProposals,
    espProposals: espProposals[options.systems[side]],
    encapsulate: withLibipsec,
    extra: ["mobike = no", "rekey_time = 0", "reauth_time = 0", ...(options.connectionExtra ?? [])],
    childExtra: options.childExtra ?? ["rekey_time = 0", "life_time = 0"],
  };
}

/** The same in Vita's configuration; without lifetimes, as it has them where nothing else is said. */
export function modelConnection(
  connection: Connection,
): NonNullable<VitaConfiguration["connection"]>[number] {
  return {
    id: connectionName,
    "local-address": [connection.localAddress],
    "remote-address": [connection.remoteAddress],
    proposal: [connection.ikeProposals],
    local: { id: connection.localId },
    remote: { id: connection.remoteId },
    "pre-shared-key": connection.preSharedKey,
    encapsulation: connection.encapsulate ?? false,
    mobike: false,
    "rekey-time": 0,
    "reauth-time": 0,
    child: [
      {
        id: childName,
        "local-ts": connection.localSelectors,
        "remote-ts": connection.remoteSelectors,
        ...(connection.espProposals === undefined
          ? {}
          : { "esp-proposal": connection.espProposals.split(",") }),
        "rekey-time": 0,
        "life-time": 0,
      },
    ],
  };
}

/** The public interface in Vita's configuration. One that Vita is to own loses its addresses in the kernel. */
async function publicInterface(
  network: Network,
  side: Side,
  { modes, punt }: SitesOptions,
): Promise<VitaConfiguration["public-interface"][number]> {
  const mode = modes?.[side] ?? "shared";
  if (mode === "shared") return { name: "wan0", driver: "xdp", mode };
  await run("ip", ["-n", network.gateways[side], "address", "flush", "dev", "wan0", "scope", "global"]);
  const address = [`${network.sides[side].wan}/${plans[network.family].wanBits}`];
  return { name: "wan0", driver: "xdp", mode, address, punt: { traffic: punt ?? "ike" } };
}

/** Starts what a gateway runs: Vita if it is Vita's, then charon. */
export async function startGateway(
  lab: Lab,
  network: Network,
  side: Side,
  options: SitesOptions,
): Promise<Gateway> {
  const node = `gw-${side}`;
  const namespace = network.gateways[side];
  const system = options.systems[side];
  let vita: Vita | undefined;
  if (system === "vita") {
    const usual: VitaConfiguration = {
      node,
      "public-interface": [await publicInterface(network, side, options)],
      "private-interface": [{ name: "lan0", driver: "xdp" }],
      workers: 1,
      ...(options.connectionInModel
        ? {
            charon: { vici: Charon.viciUri(lab, node) },
            connection: [modelConnection(connectionOf(network, side, options))],
          }
        : {}),
    };
    vita = await Vita.start(lab, namespace, options.vita?.(usual, side) ?? usual);
  } else {
    // libipsec's packets come out of a TUN device and go on through the kernel. There is no route from LAN to LAN but
    // the one that charon lays into the tunnel.
    await setSysctls(namespace, { "net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1 });
  }
  const charon = await startCharon(lab, network, side, options, vita);
  if (options.connectionInModel && vita) await charon.untilConfigured();
  return { side, node, namespace, system, charon, vita };
}

/** Starts both gateways at once. */
export async function startGateways(
  lab: Lab,
  network: Network,
  options: SitesOptions,
): Promise<Record<Side, Gateway>> {
  const [a, b] = await Promise.all(
    (["a", "b"] as const).map((side) => startGateway(lab, network, side, options)),
  );
  return { a, b };
}

/** Starts a gateway's charon alone: the first one, or one that follows another that was killed. */
export function startCharon(
  lab: Lab,
  network: Network,
  side: Side,
  options: SitesOptions,
  vita: Vita | undefined,
): Promise<Charon> {
  return Charon.start(lab, {
    name: `gw-${side}`,
    namespace: network.gateways[side],
    system: options.systems[side],
    ...(vita ? { vitaSocket: vita.charonSocket } : {}),
    ...(options.unconfigured || (options.connectionInModel && vita)
      ? {}
      : { connection: options.swanctl?.[side] ?? connectionOf(network, side, options) }),
    ...(options.plugins ? { plugins: options.plugins } : {}),
    ...(options.settings ? { settings: options.settings } : {}),
    ...(options.roots?.[side] ? { root: options.roots[side] } : {}),
  });
}
