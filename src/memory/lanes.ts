// Lanes: a region's words seen through several arrays, each of which begins one word further on than the one before. A header
// that begins with word `w` is at0[w], at1[w], at2[w] …: V8 compares an index with an array's length once, and not again for
// arrays of the same length, so that a header costs one comparison, and each of its words one instruction.
//
// Words are what the machine reads, low byte first, and begin at multiples of four bytes.

export class Lanes {
  readonly at0: Int32Array;
  readonly at1: Int32Array;
  readonly at2: Int32Array;
  readonly at3: Int32Array;
  readonly at4: Int32Array;
  readonly at5: Int32Array;
  readonly at6: Int32Array;
  readonly at7: Int32Array;
  readonly at8: Int32Array;
  readonly at9: Int32Array;
  readonly at10: Int32Array;
  readonly at11: Int32Array;
  readonly at12: Int32Array;
  readonly at13: Int32Array;
  readonly at14: Int32Array;

  constructor(buffer: ArrayBuffer) {
    const lane = (word: number) => new Int32Array(buffer, 4 * word, (buffer.byteLength >>> 2) - 14);
    this.at0 = lane(0);
    this.at1 = lane(1);
    this.at2 = lane(2);
    this.at3 = lane(3);
    this.at4 = lane(4);
    this.at5 = lane(5);
    this.at6 = lane(6);
    this.at7 = lane(7);
    this.at8 = lane(8);
    this.at9 = lane(9);
    this.at10 = lane(10);
    this.at11 = lane(11);
    this.at12 = lane(12);
    this.at13 = lane(13);
    this.at14 = lane(14);
  }
}
