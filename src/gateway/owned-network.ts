// Stands between the kernel's network tables and the FIB where Vita owns interfaces: the kernel's addresses, routes and
// neighbours on such an interface do not count, and what the configuration says is told in their place.

import type { OwnedSettings } from "../config/owned-settings.js";
import { formatAddress, type IpAddress, maskAddress, type Prefix } from "../net/address.js";
import { isLinkLocal6 } from "../net/ipv6.js";
import type { LinkChange, NetworkListener, RouteChange } from "../net/kernel-network.js";

/** The configuration comes before what the kernel has. */
const METRIC = -1;

export interface OwnedInterface {
  readonly settings: OwnedSettings;
  /** The kernel tells about the network device. */
  change(change: LinkChange): void;
}

export class OwnedNetwork implements NetworkListener {
  /** Owned interfaces by their index. */
  private readonly indices = new Map<number, OwnedSettings>();

  /**
   * @param warn an operator should know
   * @param gone a device to the kernel was taken away
   */
  constructor(
    private readonly fib: NetworkListener,
    private readonly owned: readonly OwnedInterface[],
    private readonly warn: (text: string) => void,
    private readonly gone: (device: string) => void,
  ) {}

  reset(): void {
    this.indices.clear();
    this.fib.reset();
  }

  link(change: LinkChange, present: boolean): void {
    if (!present && this.owned.some(({ settings }) => settings.punt.device === change.name))
      this.gone(change.name);
    const owned = this.owned.find(({ settings }) => settings.name === change.name);
    if (!owned) return this.fib.link(change, present);
    if (!present) {
      if (this.indices.delete(change.index)) this.tell(change.index, owned.settings, false);
      this.fib.link(change, false);
      return;
    }
    const isNew = !this.indices.has(change.index);
    this.indices.set(change.index, owned.settings);
    this.fib.link(change, true);
    if (isNew) this.tell(change.index, owned.settings, true);
    owned.change(change);
  }

  private tell(index: number, { addresses, gateways }: OwnedSettings, present: boolean): void {
    const { fib } = this;
    const route = (type: RouteChange["type"], prefix: Prefix, gateway?: IpAddress) =>
      fib.route({ type, prefix, gateway, index, metric: METRIC }, present);
    for (const { address, prefixLength } of addresses) {
      fib.address(index, address, prefixLength, present);
      route("unicast", { address: maskAddress(address, prefixLength), length: prefixLength });
      route("local", { address, length: 8 * address.length });
    }
    for (const gateway of gateways)
      route("unicast", { address: new Uint8Array(gateway.length), length: 0 }, gateway);
  }

  address(index: number, address: IpAddress, prefixLength: number, present: boolean): void {
    const settings = this.indices.get(index);
    if (!settings) return this.fib.address(index, address, prefixLength, present);
    if (!present || isLinkLocal6(address)) return;
    const text = `${formatAddress(address)}/${prefixLength}`;
    this.warn(
      `the kernel has the address ${text} on ${settings.name}, where it hears nothing: ` +
        `ip address del ${text} dev ${settings.name}`,
    );
  }

  route(change: RouteChange, present: boolean): void {
    if (!this.indices.has(change.index)) this.fib.route(change, present);
  }

  neighbour(index: number, address: IpAddress, mac: Uint8Array | undefined): void {
    if (!this.indices.has(index)) this.fib.neighbour(index, address, mac);
  }
}
