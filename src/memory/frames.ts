// Frames: the packets' memory. A region is cut into frames of 2 KiB; a packet is one frame, named by its number. Where
// the packet begins in the region and how long it is stands in typed arrays beside the memory, with what the apps
// learnt of it, so that a packet passes through the graph as one 32-bit number and nothing is allocated.
//
// A packet usually begins `HEADROOM` bytes into its frame, so that outer headers are written in front of it, in place. Apps
// read and write headers as words (see lanes.ts): ports see to it that IP headers begin at multiples of four bytes, and the
// first apps move packets of which that is not so.
// The same region serves as UMEM for AF_XDP.
//
// Several workers have one region together (ports/packet-pool.ts): a frame may come to any of them, and the arrays are each
// one's own.
//
// Ownership: whoever received a frame number must pass it on (to a link, to a port) or `free` it, exactly once.
//
// Behind the frames lies an annex, for ports that receive more at once than a frame holds: bytes are moved quickest within
// one region. It takes address space only until it is used.

import { Lanes } from "./lanes.js";
import { allocateRegion, type Region } from "./region.js";

// Not exported themselves: V8 compiles a module's own constants in, and looks exported ones up at each use.
const SHIFT = 11;
const HEAD = 256;
const NO_FRAME = -1;
const PAGE = 4096;
/** Bytes behind the frames, for `reserve`. */
const ANNEX = 8 << 20;

export const FRAME_SIZE = 1 << SHIFT;
export const FRAME_SHIFT = SHIFT;
export const HEADROOM = HEAD;

/** Where in its frame a port puts an Ethernet frame that it receives: the IP header then begins at a multiple of four. */
export const ETHERNET_START = HEAD - 2;

/** No frame, no SA, no next hop. */
export const NONE = NO_FRAME;

export class Frames {
  readonly region: Region;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  /** The region's words, for headers that begin at multiples of four bytes. */
  readonly lanes: Lanes;
  /** How many frames there are. */
  readonly capacity: number;
  /** Where the packet begins in the region, bytes. */
  readonly offset: Int32Array;
  /** How long it is, bytes. */
  readonly length: Int32Array;
  /** SAD slot of the SA that has carried the packet here, for its routing; NONE for errors, which none has. */
  readonly sa: Int32Array;
  /** Number of the port that the packet came in by, or speaks from, for those whom it concerns: see ip-input.ts, route.ts. */
  readonly port: Int32Array;
  /** Where the packet leaves by: an index into the next-hop table. */
  readonly nextHop: Int32Array;
  /** Where the outer IP header of a received ESP packet begins in the region. */
  readonly outer: Int32Array;

  private readonly freeList: Int32Array;
  private availableCount: number;
  private annexStart: number;

  /** How many of them are this worker's, on average. */
  readonly home: number;

  /**
   * @param capacity a power of two makes best use of huge pages; any number from 1 to 2^19 works
   * @param shared memory of so many frames, and how many workers use it; which frames are ours is told by `adopt`. What it
   * has behind the frames is the annex, and this process's own.
   */
  constructor(capacity: number, shared?: { region: Region; workers: number }) {
    this.region = shared?.region ?? allocateRegion(capacity * FRAME_SIZE + ANNEX);
    this.home = Math.floor(capacity / (shared?.workers ?? 1));
    this.annexStart = Math.ceil((capacity * FRAME_SIZE) / PAGE) * PAGE;
    this.view = this.region.view;
    this.bytes = this.region.bytes;
    this.lanes = new Lanes(this.view.buffer as ArrayBuffer);
    this.capacity = capacity;
    this.offset = new Int32Array(capacity);
    this.length = new Int32Array(capacity);
    this.sa = new Int32Array(capacity);
    this.port = new Int32Array(capacity);
    this.nextHop = new Int32Array(capacity);
    this.outer = new Int32Array(capacity);
    this.freeList = new Int32Array(capacity);
    this.availableCount = 0;
    if (shared) return;
    this.availableCount = capacity;
    for (let i = 0; i < capacity; i++) this.freeList[i] = capacity - 1 - i;
  }

  /** Frames that nobody owns. */
  get available(): number {
    return this.availableCount;
  }

  /** Has the kernel give the memory now, where it would otherwise come page by page when it is used first. */
  touch(): void {
    this.region.populate(0, this.capacity << SHIFT);
  }

  /**
   * Memory of the annex for as long as the frames live. For set-up.
   * @returns where it begins in the region, at a multiple of 64
   * @throws RangeError when there is not so much left
   */
  reserve(bytes: number): number {
    const start = this.annexStart;
    if (start + bytes > this.region.size)
      throw new RangeError(`no room for ${bytes} bytes behind the frames`);
    this.annexStart = start + ((bytes + 63) & ~63);
    return start;
  }

  /** A frame for the caller to own, or NONE when all are in use. Its packet is empty and begins at HEADROOM. */
  allocate(): number {
    if (this.availableCount === 0) return NO_FRAME;
    const frame = this.freeList[--this.availableCount];
    this.offset[frame] = (frame << SHIFT) + HEAD;
    this.length[frame] = 0;
    return frame;
  }

  /**
   * The frame that would be allocated as number `i` from now on, for those who take many: they ask whether there are so many
   * `available`, look at each with this, say themselves where its packet is, and `claim` them all.
   */
  spare(i: number): number {
    return this.freeList[(this.availableCount - 1 - i) | 0];
  }

  /** Takes the `count` frames that `spare` has shown. */
  claim(count: number): void {
    this.availableCount -= count;
  }

  /** Frees frames, one after the other, with `putBack` for number `i` of them and `reclaim` for all: see `spare`. */
  putBack(i: number, frame: number): void {
    this.freeList[(this.availableCount + i) | 0] = frame;
  }

  reclaim(count: number): void {
    this.availableCount += count;
  }

  free(frame: number): void {
    this.freeList[this.availableCount++] = frame;
  }

  /** Frames of shared memory that are ours to begin with. */
  adopt(frames: Int32Array): void {
    this.freeList.set(frames, this.availableCount);
    this.availableCount += frames.length;
  }

  /** Moves a packet, by three bytes at most to the front, so that its byte number `skip` comes to stand at a multiple of four. */
  align(frame: number, skip: number): void {
    const start = this.offset[frame];
    const to = start - ((start + skip) & 3);
    this.bytes.copyWithin(to, start, start + this.length[frame]);
    this.offset[frame] = to;
  }

  /** Bytes between the packet's end and the frame's. */
  tailroom(frame: number): number {
    return ((frame + 1) << SHIFT) - this.offset[frame] - this.length[frame];
  }

  /** Copies `packet` into a fresh frame, `start` bytes into it; NONE when there is none, or when it does not fit. For tests and set-up. */
  from(packet: Uint8Array, start = HEADROOM): number {
    if (packet.length > FRAME_SIZE - start) return NONE;
    const frame = this.allocate();
    if (frame === NONE) return NONE;
    this.offset[frame] += start - HEADROOM;
    this.bytes.set(packet, this.offset[frame]);
    this.length[frame] = packet.length;
    return frame;
  }

  /** A copy of the frame's packet. For tests and the slow path. */
  copy(frame: number): Uint8Array {
    return this.bytes.slice(this.offset[frame], this.offset[frame] + this.length[frame]);
  }
}
