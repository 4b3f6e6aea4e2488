// The neighbours on a link that Vita owns: which Ethernet address belongs to which next hop, for ARP and for neighbour
// discovery alike. The states are those of RFC 4861 §7.3.2:
//
//   INCOMPLETE → REACHABLE → STALE → DELAY → PROBE → gone
//
// An entry exists only for an address that Vita itself has a packet for. What others tell about themselves changes
// entries, but never makes one: whoever floods the link with strange addresses finds nothing to fill.
//
// Gateways are kept: when one does not answer it is INCOMPLETE again, and asked for once a second until it does.
//
// Packets wait for a neighbour in a bounded queue, which they enter as a copy by `send` (the slow path of
// apps/transmit.ts). When the neighbour answers they go back to the transmitting app; when it does not, they end here.

import { type AppContext, type Counters, counterIndex } from "../engine/app.js";
import type { Link } from "../engine/link.js";
import { type Frames, NONE } from "../memory/frames.js";
import type { IpAddress } from "../net/address.js";
import { isStation } from "../net/ethernet.js";
import { NeighbourTable } from "./neighbour-table.js";
import { TokenBucket } from "./token-bucket.js";

export const neighbourCounters = {
  solicitations: "ARP requests and neighbour solicitations sent to find or to check a neighbour",
  resolved: "neighbours that answered with an Ethernet address that was not known",
  lost: "neighbours that were known and do not answer any more",
  flapping: "new Ethernet addresses for a neighbour that had changed less than a second ago: ignored",
  "drop.unreachable": "packets whose neighbour did not answer",
  "drop.queue_full":
    "the oldest packets of a neighbour for which too many wait; new ones when too many wait for others",
  "drop.too_many": "packets for one neighbour more than are looked for at a time",
  "drop.no_frames": "no free frame for a packet to wait in",
} as const;

const COUNT = counterIndex(neighbourCounters);

/** Milliseconds; RFC 4861 §10. */
const RETRANSMIT = 1000;
const REACHABLE_TIME = 30_000;
const DELAY_FIRST_PROBE = 5000;
const MAX_SOLICITATIONS = 3;
/** An entry that nobody used for so long goes. */
const FORGET = 600_000;
/** Two stations that claim one address must not make it change faster than this. */
const LOCK = 1000;

/** Packets that wait for one neighbour, and for all. */
const QUEUE = 32;
const TOTAL_QUEUE = 256;
/** Neighbours that are looked for at a time: a scan of the link must not push out those that are in use. */
const MAX_INCOMPLETE = 256;
/** Solicitations a second. */
const RATE = 500;

const INCOMPLETE = 1;
const REACHABLE = 2;
const STALE = 3;
const DELAY = 4;
const PROBE = 5;
const STATE_NAMES = ["free", "incomplete", "reachable", "stale", "delay", "probe"] as const;

/** States that a solicitation will end. */
function isAsking(state: number): boolean {
  return state === INCOMPLETE || state === DELAY || state === PROBE;
}

/** What the cache does to the world around it. */
export interface NeighbourEvents {
  /** Asks for a neighbour: everybody, or the station that had the address. */
  solicit(address: IpAddress, station: Uint8Array | undefined): void;
  /** The Ethernet address of a neighbour is known now, has changed, or is not known any more. */
  changed(address: IpAddress, mac: Uint8Array | undefined): void;
  /** The address of a next hop. */
  addressOf(hop: number): IpAddress;
}

export class Neighbours {
  readonly counters: Counters;
  private readonly frames: Frames;
  private readonly table: NeighbourTable;
  private readonly state: Uint8Array;
  private readonly macs: Uint8Array;
  /** Solicitations sent in this state. */
  private readonly asked: Uint8Array;
  /** When the state ends by itself, when it was used, when its Ethernet address changed; milliseconds. */
  private readonly due: Float64Array;
  private readonly used: Float64Array;
  private readonly changed: Float64Array;
  /** 1 for those that stay whether they answer or not. */
  private readonly kept: Uint8Array;
  private readonly hop: Int32Array;
  private readonly byHop = new Map<number, number>();
  /** Frames that wait: first and last of an entry, how many, and the one behind each frame. */
  private readonly first: Int32Array;
  private readonly last: Int32Array;
  private readonly length: Uint8Array;
  private readonly behind: Int32Array;
  private readonly bucket = new TokenBucket(RATE, RATE);
  private waiting = 0;
  private incomplete = 0;
  private asking = 0;
  private now = 0;

  /**
   * @param output where packets go on when their neighbour has answered: the transmitting app's routed link
   * @param random 0 to 1, as Math.random
   */
  constructor(
    context: AppContext,
    private readonly events: NeighbourEvents,
    private readonly output: Link,
    private readonly random: () => number = Math.random,
    capacity = 1024,
  ) {
    this.counters = context.counters("neighbours", neighbourCounters);
    this.frames = context.frames;
    this.table = new NeighbourTable(capacity);
    this.state = new Uint8Array(capacity);
    this.macs = new Uint8Array(6 * capacity);
    this.asked = new Uint8Array(capacity);
    this.due = new Float64Array(capacity);
    this.used = new Float64Array(capacity);
    this.changed = new Float64Array(capacity);
    this.kept = new Uint8Array(capacity);
    this.hop = new Int32Array(capacity).fill(NONE);
    this.first = new Int32Array(capacity).fill(NONE);
    this.last = new Int32Array(capacity).fill(NONE);
    this.length = new Uint8Array(capacity);
    this.behind = new Int32Array(context.frames.capacity).fill(NONE);
  }

  /** Is somebody being looked for, or checked? Then `tick` is due more often than once a second. */
  get busy(): boolean {
    return this.asking > 0;
  }

  /**
   * Keeps a copy of a packet until the neighbour behind `hop` answers, and looks for it.
   * @returns true: a packet that cannot be kept is counted here
   */
  send(offset: number, length: number, hop: number): true {
    const entry = this.byHop.get(hop) ?? this.begin(this.events.addressOf(hop), hop);
    if (entry === NONE) this.counters[COUNT["drop.too_many"]]++;
    else if (this.state[entry] === INCOMPLETE) this.queue(entry, offset, length, hop);
    else {
      // The routing table has lost what is known here. It learns with the loss of one packet.
      this.tell(entry);
      this.counters[COUNT["drop.unreachable"]]++;
    }
    return true;
  }

  private queue(entry: number, offset: number, length: number, hop: number): void {
    const { frames } = this;
    const others = this.waiting - this.length[entry];
    if (this.length[entry] === QUEUE || (others >= TOTAL_QUEUE && this.kept[entry] === 0)) {
      this.counters[COUNT["drop.queue_full"]]++;
      // RFC 4861 §7.2.2: the new one takes the place of the oldest.
      if (this.length[entry] === 0) return;
      frames.free(this.shift(entry));
    }
    const frame = frames.allocate();
    if (frame === NONE) {
      this.counters[COUNT["drop.no_frames"]]++;
      return;
    }
    frames.bytes.copyWithin(frames.offset[frame], offset, offset + length);
    frames.length[frame] = length;
    frames.nextHop[frame] = hop;
    this.behind[frame] = NONE;
    if (this.length[entry]++ === 0) this.first[entry] = frame;
    else this.behind[this.last[entry]] = frame;
    this.last[entry] = frame;
    this.waiting++;
  }

  private tell(entry: number): void {
    this.events.changed(this.table.addressOf(entry), this.macs.slice(6 * entry, 6 * entry + 6));
  }

  private shift(entry: number): number {
    const frame = this.first[entry];
    this.first[entry] = this.behind[frame];
    this.length[entry]--;
    this.waiting--;
    return frame;
  }

  private flush(entry: number): void {
    while (this.length[entry] > 0) this.output.transmit(this.shift(entry));
  }

  /** Looks for a neighbour that no packet waits for yet, and never gives it up. For gateways. */
  keep(address: IpAddress): void {
    const entry = this.begin(address, NONE);
    if (entry !== NONE) this.kept[entry] = 1;
  }

  /** @returns the entry of an address, a new one if need be, or NONE when there are too many */
  private begin(address: IpAddress, hop: number): number {
    let entry = this.table.find(address);
    if (entry === NONE) {
      if (this.incomplete >= MAX_INCOMPLETE) return NONE;
      if (this.table.count === this.table.capacity) this.evict();
      entry = this.table.add(address);
      if (entry === NONE) return NONE;
      this.kept[entry] = 0;
      this.hop[entry] = NONE;
      this.used[entry] = this.now;
      this.changed[entry] = Number.NEGATIVE_INFINITY;
      this.enter(entry, INCOMPLETE, 0);
      this.solicit(entry);
    }
    if (hop !== NONE) {
      this.hop[entry] = hop;
      this.byHop.set(hop, entry);
    }
    return entry;
  }

  /** Takes the entry out that has not been used for the longest time, and is not just being checked. */
  private evict(): void {
    let oldest = NONE;
    for (let entry = 0; entry < this.table.capacity; entry++)
      if (
        this.state[entry] === STALE &&
        this.kept[entry] === 0 &&
        (oldest === NONE || this.used[entry] < this.used[oldest])
      )
        oldest = entry;
    if (oldest !== NONE) this.remove(oldest);
  }

  private enter(entry: number, state: number, milliseconds: number): void {
    const before = this.state[entry];
    this.incomplete += Number(state === INCOMPLETE) - Number(before === INCOMPLETE);
    this.asking += Number(isAsking(state)) - Number(isAsking(before));
    this.state[entry] = state;
    this.due[entry] = this.now + milliseconds;
    this.asked[entry] = 0;
  }

  /** It did not answer, or is not in use: what waits ends here. */
  private remove(entry: number): void {
    this.counters[COUNT["drop.unreachable"]] += this.length[entry];
    while (this.length[entry] > 0) this.frames.free(this.shift(entry));
    if (this.state[entry] !== INCOMPLETE) this.events.changed(this.table.addressOf(entry), undefined);
    if (this.kept[entry] !== 0) {
      this.enter(entry, INCOMPLETE, 0);
      this.solicit(entry);
      return;
    }
    this.enter(entry, 0, 0);
    if (this.hop[entry] !== NONE) this.byHop.delete(this.hop[entry]);
    this.table.remove(entry);
  }

  /** Asks once more; with the next tick, when too many have been asked. */
  private solicit(entry: number): void {
    if (!this.bucket.take()) return;
    this.asked[entry]++;
    this.due[entry] = this.now + RETRANSMIT;
    this.counters[COUNT.solicitations]++;
    const station = this.state[entry] === PROBE ? this.macs.slice(6 * entry, 6 * entry + 6) : undefined;
    this.events.solicit(this.table.addressOf(entry), station);
  }

  /** The neighbour with the IPv4 address at `at` says, or is said, to be at the Ethernet address at `mac`. */
  heard4(view: DataView, bytes: Uint8Array, at: number, mac: number, solicited: boolean): void {
    const entry = this.table.find4(view, at);
    if (entry !== NONE) this.heard(entry, bytes, mac, solicited, true);
  }

  /** The same for IPv6. @param override whether an address that is known must give way (RFC 4861 §7.2.5) */
  heard6(
    view: DataView,
    bytes: Uint8Array,
    at: number,
    mac: number,
    solicited: boolean,
    override: boolean,
  ): void {
    const entry = this.table.find6(view, at);
    if (entry !== NONE) this.heard(entry, bytes, mac, solicited, override);
  }

  private heard(entry: number, bytes: Uint8Array, mac: number, solicited: boolean, override: boolean): void {
    if (!isStation(bytes, mac)) return;
    const known = this.state[entry] !== INCOMPLETE;
    let same = known;
    for (let i = 0; same && i < 6; i++) same = this.macs[6 * entry + i] === bytes[mac + i];
    if (!same) {
      if (known && !override) {
        if (this.state[entry] === REACHABLE) this.enter(entry, STALE, FORGET);
        return;
      }
      if (this.now - this.changed[entry] < LOCK) {
        this.counters[COUNT.flapping]++;
        return;
      }
      this.changed[entry] = this.now;
      for (let i = 0; i < 6; i++) this.macs[6 * entry + i] = bytes[mac + i];
      if (!known) this.counters[COUNT.resolved]++;
    }
    // RFC 4861 appendix C: what was not asked for says who, but not that packets arrive there.
    if (solicited) this.enter(entry, REACHABLE, REACHABLE_TIME * (0.5 + this.random()));
    else if (!same) this.enter(entry, STALE, FORGET);
    if (!same) this.tell(entry);
    this.flush(entry);
  }

  /** Packets went to this neighbour since the last call: it must be checked now and then. */
  use(address: IpAddress): void {
    const entry = this.table.find(address);
    if (entry === NONE) return;
    this.used[entry] = this.now;
    if (this.state[entry] === STALE) this.enter(entry, DELAY, DELAY_FIRST_PROBE);
  }

  /** What is due. To be called every few milliseconds. */
  tick(milliseconds: number): void {
    this.now += milliseconds;
    this.bucket.refill(milliseconds);
    if (this.table.count === 0) return;
    for (let entry = 0; entry < this.table.capacity; entry++)
      if (this.state[entry] !== 0 && this.now >= this.due[entry]) this.timeOut(entry);
  }

  private timeOut(entry: number): void {
    switch (this.state[entry]) {
      case REACHABLE:
        this.enter(entry, STALE, FORGET);
        break;
      case STALE:
        // One that is kept is checked instead, so that it is known when it is needed.
        if (this.kept[entry] !== 0) this.enter(entry, DELAY, 0);
        else if (this.now - this.used[entry] >= FORGET) this.remove(entry);
        else this.due[entry] = this.used[entry] + FORGET;
        break;
      case DELAY:
        this.enter(entry, PROBE, 0);
        this.solicit(entry);
        break;
      default:
        if (this.asked[entry] < MAX_SOLICITATIONS) return this.solicit(entry);
        if (this.state[entry] === PROBE) this.counters[COUNT.lost]++;
        this.remove(entry);
    }
  }

  /** The link went down: all that was known is void. */
  forget(): void {
    for (let entry = 0; entry < this.table.capacity; entry++)
      if (this.state[entry] !== 0 && this.state[entry] !== INCOMPLETE) this.remove(entry);
  }

  /** For those who look: `reachable`, and so on; undefined when the address is not in the cache. */
  stateOf(address: IpAddress): (typeof STATE_NAMES)[number] | undefined {
    const entry = this.table.find(address);
    return entry === NONE ? undefined : STATE_NAMES[this.state[entry]];
  }
}
