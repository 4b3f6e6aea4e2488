// The packet memory that the workers of a node have together, and what they must know of each other to use it: which frames
// are whose, who is at work on the rings that a queue's AF_XDP sockets share, and which descriptors another worker has open.
// It stands in a file of its own beside the frames. A process that has no siblings, as in a test, has the same in memory.
//
// Whose: one byte for each frame. It changes when a frame goes to the kernel or comes from it, and nowhere else, so that a
// worker which takes the place of one that was killed finds all frames that this one had: free, or in the middle of the graph.
//
//   0              the kernel has it, or it stands in a ring
//   worker + 1     the worker has it
//   the same | 128 another worker has given it to that one, which has not looked yet
//
// What is done to a ring takes several stores, and a worker can be killed between any two. Before it begins it notes what it
// is about to do (`START`, `COUNT`); whoever finds the note can tell from the ring whether it was done (xdp-queue.ts).
//
// A frame that was received for one worker may have come out of another one's hands, and a sent one may come back to any.
// Who thus comes to have more than its share gives some away to the poorest.

import type { Frames } from "../memory/frames.js";
import { bytes as byteField, i32, struct, u32 } from "../memory/layout.js";
import { openSharedRegion, populateNew, type Region } from "../memory/region.js";
import { close, hasEnded, open, pidfdGetfd, pidfdOpen, waitForLock } from "../native/libc.js";

const MAGIC = 0x50544956; // "VITP"
const VERSION = 1;
const MAX_WORKERS = 16;
/** Receive queues over all devices. */
const MAX_QUEUES = 1024;
const QUEUE_BYTES = 256;
/** Numbers that a worker tells the others about its devices. */
const MAX_NUMBERS = 16_384;

/** Word offsets in a queue's record. */
export const LOCK = 0;
export const FILL_START = 1;
export const FILL_COUNT = 2;
export const DONE_START = 3;
export const DONE_COUNT = 4;
/** Two words a worker: start and count. */
export const SEND = 16;

export const portsFile = struct("ports file", "Behind it one byte for each frame: whose it is.", {
  magic: u32('"VITP"'),
  version: u32(`layout version, ${VERSION}`),
  workers: u32("how many workers share the frames"),
  frames: u32("how many frames there are"),
  pid: i32("process id of each worker that has its devices open", MAX_WORKERS),
  life: i32("how often each worker was started", MAX_WORKERS),
  level: i32("frames that each worker has free, more or less", MAX_WORKERS),
  gifts: i32("frames that each worker was given by others", MAX_WORKERS),
  queues: byteField(MAX_QUEUES * QUEUE_BYTES, "one record for each receive queue", 64),
  numbers: i32("what each worker tells of its devices, descriptors above all", MAX_WORKERS * MAX_NUMBERS),
});

const at = portsFile.at;
const PID = at.pid >>> 2;
const LIFE = at.life >>> 2;
const LEVEL = at.level >>> 2;
const GIFTS = at.gifts >>> 2;
const NUMBERS = at.numbers >>> 2;
const QUEUE_WORDS = QUEUE_BYTES >>> 2;
const WORKER_BITS = 5;
const WORKER_MASK = (1 << WORKER_BITS) - 1;
const LIFE_MASK = 0xffff;
const GIFT = 0x80;
/** Looks at a lock that is taken before its owner is looked at. */
const PATIENCE = 1000;

/** What one worker has of a device, as it tells the others. */
export interface DeviceRecord {
  /** The kernel's number of the device: another one under the same name has another. */
  readonly index: number;
  readonly isNative: boolean;
  readonly queues: readonly number[];
  readonly descriptors: readonly number[];
}

export class PacketPool {
  readonly workers: number;
  readonly worker: number;
  /** By frame; see above. */
  readonly holders: Uint8Array;
  readonly words: Int32Array;
  /** How a frame is marked that this worker has. */
  readonly mark: number;
  /** With fewer free frames than this a worker leaves it to others to feed the kernel. */
  readonly poor: number;
  /** With more than this it gives some away. */
  readonly rich: number;

  /** Are the frames that are ours known? */
  isReady = false;
  /** How the frames are marked of the one from whom we have taken a lock. */
  formerMark = 0;

  readonly #frames: Frames;
  /** What stands in a lock that we have: worker + 1, and which life of that worker it is. */
  #token: number;
  #region: Region | undefined;
  #lock = -1;
  #queues = 0;
  /** What is left of it to be handed out. */
  #inherited: DeviceRecord[] | undefined;
  readonly #published: number[] = [0];
  #giftsTaken = 0;
  #misses = 0;

  private constructor(
    frames: Frames,
    words: Int32Array,
    holders: Uint8Array,
    worker: number,
    workers: number,
  ) {
    this.#frames = frames;
    this.words = words;
    this.holders = holders;
    this.worker = worker;
    this.workers = workers;
    this.mark = worker + 1;
    this.#token = this.mark;
    this.poor = workers === 1 ? 0 : frames.home >>> 2;
    this.rich = frames.home + (frames.home >>> 3);
  }

  /** For a process that shares its frames with nobody. */
  static alone(frames: Frames): PacketPool {
    const words = new Int32Array(NUMBERS);
    const pool = new PacketPool(frames, words, new Uint8Array(frames.capacity).fill(1), 0, 1);
    pool.isReady = true;
    return pool;
  }

  /** Makes the file, in which all frames are with the worker that they belong to. @throws when it exists */
  static create(path: string, frames: number, workers: number): void {
    const size = portsFile.size + frames;
    const region = openSharedRegion(path, "create", size);
    populateNew(region, path, size);
    const { words } = region;
    words[at.magic >>> 2] = MAGIC;
    words[at.version >>> 2] = VERSION;
    words[at.workers >>> 2] = workers;
    words[at.frames >>> 2] = frames;
    region.unmap();
  }

  /** Is the file made for so many frames and workers? @throws when it cannot be opened */
  static fits(path: string, frames: number, workers: number): boolean {
    const region = openSharedRegion(path, "read");
    const { words, size } = region;
    const fits =
      size === portsFile.size + frames &&
      words[at.magic >>> 2] === MAGIC &&
      words[at.version >>> 2] === VERSION &&
      words[at.workers >>> 2] === workers &&
      words[at.frames >>> 2] === frames;
    region.unmap();
    return fits;
  }

  /** Maps the file, and changes nothing yet. */
  static open(path: string, frames: Frames, worker: number): PacketPool {
    const region = openSharedRegion(path, "write");
    const { words } = region;
    const holders = region.bytes.subarray(portsFile.size, portsFile.size + frames.capacity);
    const signed = new Int32Array(words.buffer as ArrayBuffer, 0, portsFile.size >>> 2);
    const pool = new PacketPool(frames, signed, holders, worker, words[at.workers >>> 2]);
    pool.#region = region;
    return pool;
  }

  /**
   * To be called before any port is opened: waits until no other worker is in the middle of that. Where another one is at
   * work it has open what belongs to all, and gives it to us; where none is, all begins anew.
   * @param lockFile stands for the right to open ports
   * @param isWorker is the process still this worker?
   * @throws Error that says what to do
   */
  begin(lockFile: string, isWorker: (pid: number, worker: number) => boolean): void {
    const O_RDWR = 2;
    const O_CREAT = 0o100;
    this.#lock = open(lockFile, O_RDWR | O_CREAT, 0o600);
    waitForLock(this.#lock, `waiting for ${lockFile}`);
    const { words } = this;
    words[PID + this.worker] = 0;
    const life = (Atomics.add(words, LIFE + this.worker, 1) + 1) & LIFE_MASK;
    this.#token = (life << WORKER_BITS) | this.mark;
    for (let other = 0; other < this.workers; other++) {
      const pid = words[PID + other];
      if (pid !== 0 && !hasEnded(pid) && isWorker(pid, other) && this.#inherit(pid, other)) return;
    }
    words.fill(0, PID, LIFE);
    words.fill(0, LEVEL, NUMBERS);
    const { home } = this.#frames;
    for (let other = 0; other < this.workers; other++)
      this.holders.fill(other + 1, other * home, (other + 1) * home);
  }

  /** @returns false when the other one ended before it could give everything */
  #inherit(pid: number, other: number): boolean {
    const what = `taking over descriptors of worker ${other} (process ${pid})`;
    let next = NUMBERS + other * MAX_NUMBERS;
    const number = () => this.words[next++];
    const list = () => Array.from({ length: number() }, number);
    const records: DeviceRecord[] = [];
    const taken: number[] = [];
    let pidfd = -1;
    const take = (theirs: number) => {
      const fd = pidfdGetfd(pidfd, theirs, what);
      taken.push(fd);
      return fd;
    };
    try {
      pidfd = pidfdOpen(pid);
      for (let devices = number(); devices > 0; devices--) {
        const [index, isNative] = [number(), number() === 1];
        records.push({ index, isNative, queues: list(), descriptors: list().map(take) });
      }
    } catch (error) {
      for (const fd of taken) close(fd);
      if (hasEnded(pid)) return false;
      throw new Error(`${(error as Error).message}; several workers need the capability CAP_SYS_PTRACE`, {
        cause: error,
      });
    } finally {
      if (pidfd >= 0) close(pidfd);
    }
    this.#inherited = records;
    return true;
  }

  /** What another worker has open of the next device, in the order of the configuration; undefined: it is to be opened. */
  nextInherited(): DeviceRecord | undefined {
    if (!this.#inherited) return undefined;
    const record = this.#inherited.shift();
    if (!record)
      throw new Error("the workers of this node have unlike devices: stop the node, and start it again");
    return record;
  }

  /** Tells the other workers what this one has open of a device. */
  publish({ index, isNative, queues, descriptors }: DeviceRecord): void {
    this.#published[0]++;
    this.#published.push(index, Number(isNative), queues.length, ...queues);
    this.#published.push(descriptors.length, ...descriptors);
  }

  /** All ports are open: takes what frames are ours, and lets the next worker begin. */
  end(): void {
    const { words, worker, holders, mark } = this;
    if (this.#published.length > MAX_NUMBERS)
      throw new Error("there are too many receive queues for so many workers: set workers to a lower number");
    words.set(this.#published, NUMBERS + worker * MAX_NUMBERS);
    this.#giftsTaken = Atomics.load(words, GIFTS + worker);
    const mine = new Int32Array(holders.length);
    this.#frames.adopt(mine.subarray(0, count(holders, mark, mine)));
    this.isReady = true;
    words[PID + worker] = process.pid;
    close(this.#lock);
  }

  /** Does once, without a trace, what `end` does, so that it goes quickly then. */
  rehearse(): void {
    const holders = this.holders.slice();
    const mine = new Int32Array(holders.length);
    for (let i = 0; i < 3; i++) count(holders, this.mark, mine);
  }

  /** A record for the next receive queue, as the offset of its first word. */
  nextQueue(): number {
    if (this.#queues === MAX_QUEUES) throw new Error(`there are more than ${MAX_QUEUES} receive queues`);
    return (at.queues >>> 2) + this.#queues++ * QUEUE_WORDS;
  }

  // ---- data path ---------------------------------------------------------------------------------------------------

  /**
   * Takes the lock of the rings that a queue's sockets share, if nobody has it: who does not get it has lost nothing.
   * @returns 0: somebody else has it; 1: we have it; 2: we have it from one that was killed, and must see what it left
   */
  tryLock(queue: number): 0 | 1 | 2 {
    const owner = Atomics.compareExchange(this.words, queue + LOCK, 0, this.#token);
    if (owner === 0) return 1;
    if (++this.#misses < PATIENCE) return 0;
    this.#misses = 0;
    return this.#takeFromDead(queue, owner) ? 2 : 0;
  }

  #takeFromDead(queue: number, owner: number): boolean {
    const { words } = this;
    const worker = (owner & WORKER_MASK) - 1;
    const pid = words[PID + worker];
    const isDead = (words[LIFE + worker] & LIFE_MASK) !== owner >>> WORKER_BITS || pid === 0 || hasEnded(pid);
    this.formerMark = worker + 1;
    return isDead && Atomics.compareExchange(words, queue + LOCK, owner, this.#token) === owner;
  }

  unlock(queue: number): void {
    Atomics.store(this.words, queue + LOCK, 0);
  }

  /** Tells how many frames we have, and levels that out with the others. */
  balance(): void {
    const { words, worker, workers } = this;
    const frames = this.#frames;
    words[LEVEL + worker] = frames.available;
    if (workers === 1) return;
    if (frames.available < this.poor) {
      if (Atomics.load(words, GIFTS + worker) !== this.#giftsTaken) this.#takeGifts();
    } else if (frames.available > this.rich) this.#give();
  }

  #give(): void {
    const { words, workers, holders } = this;
    const frames = this.#frames;
    let poorest = 0;
    for (let other = 1; other < workers; other++)
      if (words[LEVEL + other] < words[LEVEL + poorest]) poorest = other;
    if (poorest === this.worker) return;
    const count = frames.available - frames.home;
    for (let i = 0; i < count; i++) holders[frames.allocate()] = GIFT | (poorest + 1);
    Atomics.add(words, LEVEL + poorest, count);
    Atomics.add(words, GIFTS + poorest, count);
  }

  #takeGifts(): void {
    const { words, worker, holders, mark } = this;
    this.#giftsTaken = Atomics.load(words, GIFTS + worker);
    for (
      let frame = holders.indexOf(GIFT | mark);
      frame >= 0;
      frame = holders.indexOf(GIFT | mark, frame + 1)
    ) {
      holders[frame] = mark;
      this.#frames.free(frame);
    }
  }

  close(): void {
    this.#region?.unmap();
  }
}

/** Finds the frames that a worker has, and those that it was given. @returns how many there are */
function count(holders: Uint8Array, mark: number, found: Int32Array): number {
  let number = 0;
  for (let frame = 0; frame < holders.length; frame++) {
    if ((holders[frame] & ~GIFT) !== mark) continue;
    holders[frame] = mark;
    found[number++] = frame;
  }
  return number;
}
