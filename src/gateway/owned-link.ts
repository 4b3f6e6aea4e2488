// What a public port has besides when Vita owns its interface: everything that a kernel would do on that link.
//
//   port rx → classify → (ESP) decapsulate
//                      → owned-input → arp, neighbour-discovery, icmp-echo → port tx
//                                    → punt → TUN device → the kernel, charon
//   the kernel, charon → TUN device → host-output → transmit → port tx
//   transmit, where a neighbour is not known → neighbours → transmit
//
// An address is probed for when the link comes up, and announced half a second later: somebody else who has it is told
// of in the log, and Vita goes on all the same, because an operator has given it the address.

import { Arp, type LinkParts } from "../apps/arp.js";
import { Classify } from "../apps/classify.js";
import { ClearText } from "../apps/clear-text.js";
import type { Fib, FibPort } from "../apps/fib.js";
import { HostOutput } from "../apps/host-output.js";
import { IcmpEcho } from "../apps/icmp-echo.js";
import { NeighbourDiscovery } from "../apps/neighbour-discovery.js";
import { Neighbours } from "../apps/neighbours.js";
import { OwnedInput } from "../apps/owned-input.js";
import { Punt } from "../apps/punt.js";
import { Station } from "../apps/station.js";
import type { OwnedSettings } from "../config/owned-settings.js";
import type { App, AppContext } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import type { EspSink } from "../ipsec/decapsulate.js";
import type { SpdIndex } from "../ipsec/spd-index.js";
import { formatAddress, type IpAddress } from "../net/address.js";
import { formatEthernet } from "../net/ethernet.js";
import type { LinkChange } from "../net/kernel-network.js";
import type { Port, PortOptions } from "../ports/port.js";

/** How a plan says that its port's interface is Vita's. */
export interface Ownership {
  readonly settings: OwnedSettings;
  /** Opens the device to the kernel. */
  openPunt(context: AppContext, options: PortOptions): Port;
  /** The link's MTU is known, or has changed: bytes of IP packet. */
  setMtu(mtu: number): void;
  /** Something that an operator has to know. */
  warn(text: string): void;
}

export interface OwnedLinkParts {
  readonly ownership: Ownership;
  readonly fib: Fib;
  readonly index: SpdIndex;
  readonly ports: readonly FibPort[];
  /** The port's number. */
  readonly number: number;
  /** From the port, and to it. */
  readonly received: Link;
  readonly toPort: Link;
  readonly decapsulate: EspSink;
  /** Packets whose next hop is known, to `transmit`. */
  readonly routed: Link;
  /** Makes a link. */
  readonly link: () => Link;
}

/** Milliseconds after the link came up: looking for others, then telling twice. */
const PROBE = 0;
const ANNOUNCE = [500, 2500];
/** Milliseconds between two announcements that defend an address (RFC 5227 §2.4), and between two lines in the log. */
const DEFEND_INTERVAL = 10_000;
const LOG_INTERVAL = 60_000;
/** Milliseconds between two looks at which neighbours are in use. */
const REFRESH = 1000;

export class OwnedLink {
  readonly settings: OwnedSettings;
  readonly neighbours: Neighbours;
  /** The device to the kernel. */
  readonly punt: Port;
  /** In the order in which packets travel; they run before `transmit`. */
  readonly apps: readonly { name: string; app: App }[];
  private readonly station: Station;
  private readonly ownership: Ownership;
  private readonly fib: Fib;
  private readonly number: number;
  private readonly arp: Arp;
  private readonly discovery: NeighbourDiscovery;
  private readonly timed: readonly { tick(milliseconds: number): void }[];
  private readonly conflicts = new Map<string, { defended: number; logged: number }>();
  /** What is left to be done since the link came up, and when. */
  private agenda: { at: number; act: () => void }[] = [];
  private now = 0;
  private refreshAt = 0;
  private mtu = 0;

  /** @throws what opening the device to the kernel throws */
  constructor(context: AppContext, parts: OwnedLinkParts) {
    const { ownership, fib, number, received, toPort, decapsulate, routed, link } = parts;
    const { settings } = ownership;
    this.ownership = ownership;
    this.settings = settings;
    this.fib = fib;
    this.number = number;
    const station = new Station(settings.addresses);
    this.station = station;
    const solicit = (address: IpAddress, at: Uint8Array | undefined) =>
      (address.length === 4 ? this.arp : this.discovery).solicit(address, at);
    const changed = (address: IpAddress, mac: Uint8Array | undefined) =>
      fib.neighbour(fib.hops.interfaceOf(number), address, mac);
    const addressOf = (hop: number) => fib.hops.addressOf(hop);
    this.neighbours = new Neighbours(context, { solicit, changed, addressOf }, routed);
    const linkParts: LinkParts = {
      station,
      neighbours: this.neighbours,
      output: toPort,
      onConflict: (address, mac) => this.conflict(address, mac),
    };
    this.arp = new Arp(context, linkParts);
    this.discovery = new NeighbourDiscovery(context, linkParts);
    const echo = new IcmpEcho(context, station, toPort);

    const rest = link();
    const fromKernel = link();
    const puntAll = settings.punt.traffic === "all";
    this.punt = ownership.openPunt(context, { name: settings.punt.device, output: fromKernel });
    const punt = new Punt(context, this.punt.sink.input);
    const clearText = new ClearText(parts.index);
    const inputParts = { station, arp: this.arp, discovery: this.discovery, echo, punt, clearText, puntAll };
    const hostOutput = new HostOutput(
      context,
      { station, fib, clearText, ports: parts.ports, port: number, puntAll },
      fromKernel,
      routed,
    );
    for (const gateway of settings.gateways)
      hostOutput.setGateway(gateway.length === 4 ? 4 : 6, fib.hops.to(number, gateway));
    this.timed = [this.neighbours, this.arp, this.discovery, echo, punt];
    this.apps = [
      { name: "classify", app: new Classify(context, received, decapsulate, rest) },
      { name: "owned-input", app: new OwnedInput(context, inputParts, rest) },
      { name: "host-output", app: hostOutput },
    ];
  }

  /** The kernel tells about the network device. */
  change({ mac, mtu, up }: LinkChange): void {
    const { station } = this;
    if (mtu !== this.mtu) this.ownership.setMtu(mtu);
    this.mtu = mtu;
    const isNew = mac !== undefined && !station.isMac(mac, 0);
    if (isNew) station.setMac(mac);
    const cameUp = up && !station.up;
    station.up = up;
    if (!up) this.neighbours.forget();
    if (up && (cameUp || isNew)) this.greet();
  }

  private greet(): void {
    const announce = () => {
      for (const address of this.station.all()) this.speaker(address).announce(address);
      this.discovery.report();
    };
    const probe = () => {
      for (const address of this.station.all()) this.speaker(address).probe(address);
      for (const gateway of this.settings.gateways) this.neighbours.keep(gateway);
    };
    this.agenda = [
      { at: this.now + PROBE, act: probe },
      ...ANNOUNCE.map((delay) => ({ at: this.now + delay, act: announce })),
    ];
  }

  private speaker(address: IpAddress): Arp | NeighbourDiscovery {
    return address.length === 4 ? this.arp : this.discovery;
  }

  private conflict(address: IpAddress, mac: Uint8Array): void {
    const text = formatAddress(address);
    let seen = this.conflicts.get(text);
    if (!seen) {
      seen = { defended: Number.NEGATIVE_INFINITY, logged: Number.NEGATIVE_INFINITY };
      this.conflicts.set(text, seen);
    }
    if (this.now - seen.logged >= LOG_INTERVAL) {
      seen.logged = this.now;
      this.ownership.warn(`${formatEthernet(mac)} claims ${text} too, which is ours: one of both must go`);
    }
    if (this.now - seen.defended >= DEFEND_INTERVAL) {
      seen.defended = this.now;
      this.speaker(address).announce(address);
    }
  }

  /** Is something due within the next second? */
  get busy(): boolean {
    return this.agenda.length > 0 || this.neighbours.busy;
  }

  /** What is due every few milliseconds. @param milliseconds since the last call */
  tick(milliseconds: number): void {
    this.now += milliseconds;
    for (const app of this.timed) app.tick(milliseconds);
    while (this.agenda.length > 0 && this.now >= this.agenda[0].at) this.agenda.shift()?.act();
    if (this.now < this.refreshAt) return;
    this.refreshAt = this.now + REFRESH;
    this.fib.hops.refreshUsed(true, this.use);
  }

  private readonly use = (port: number, address: IpAddress): void => {
    if (port === this.number) this.neighbours.use(address);
  };
}
