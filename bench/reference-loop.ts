// The yardstick of the regression guard: a loop over packet headers that does what apps do (big-endian reads, an Internet
// checksum, a table look-up, writes) and that no change of Vita changes. How fast an app is against it depends little on the
// processor, and hardly on what else the machine does. It uses nothing of src/, so that it stays what it is.

import type { Round } from "./rounds.js";

const FRAMES = 256;
const SIZE = 2048;
const BATCH = 128;

export class ReferenceLoop {
  private readonly view = new DataView(new ArrayBuffer(FRAMES * SIZE));
  private readonly table = new Int32Array(1 << 16);
  private readonly offset = new Int32Array(FRAMES);
  private readonly result = new Int32Array(FRAMES);
  private next = 0;

  constructor() {
    for (let i = 0; i < FRAMES; i++) {
      this.offset[i] = i * SIZE + 256;
      for (let at = 0; at < 64; at += 2) this.view.setUint16(i * SIZE + 256 + at, (i * 31 + at * 7) & 0xffff);
    }
    for (let i = 0; i < this.table.length; i++) this.table[i] = (i * 7919) & (FRAMES - 1);
  }

  private batch(): void {
    const { view, table, offset, result } = this;
    for (let i = 0; i < BATCH; i++) {
      const frame = this.next;
      this.next = (frame + 1) & (FRAMES - 1);
      const at = offset[frame];
      let sum = 0;
      for (let word = 14; word < 34; word += 2) sum += view.getUint16(at + word);
      sum = (sum & 0xffff) + (sum >>> 16);
      const destination = view.getInt32(at + 30);
      const hop = table[(destination >>> 16) ^ (sum & 0xff)];
      if (hop < 0) continue;
      const ttl = view.getUint8(at + 22);
      view.setUint8(at + 22, ttl === 1 ? 64 : ttl - 1);
      view.setUint16(at + 24, sum & 0xffff);
      result[frame] = hop;
    }
  }

  run(packets: number): Round {
    const batches = Math.ceil(packets / BATCH);
    const begin = process.hrtime.bigint();
    for (let i = 0; i < batches; i++) this.batch();
    return { packets: batches * BATCH, nanoseconds: Number(process.hrtime.bigint() - begin) };
  }
}
