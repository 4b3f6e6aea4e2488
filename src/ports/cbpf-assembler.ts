// An assembler for classic BPF, as socket filters use it (linux/filter.h): an accumulator A, an index X, jumps forward.
// Each instruction is 8 bytes: opcode 16, jump if true 8, jump if false 8, constant 32. A load beyond the packet ends the
// program and refuses the packet.

const sizes = { u8: 0x10, u16: 0x08, u32: 0x00 } as const;
export type FilterSize = keyof typeof sizes;

const LOAD_ABSOLUTE = 0x20;
const LOAD_INDIRECT = 0x40;
const LOAD_HEADER_LENGTH = 0xb1;
const LOAD_INDEX = 0x01;
const LOAD_SCRATCH = 0x60;
const STORE = 0x02;
const TO_INDEX = 0x07;
const ADD = 0x04;
const ADD_INDEX = 0x0c;
const SHIFT_LEFT = 0x64;
const AND = 0x54;
const JUMP = 0x05;
const RETURN = 0x06;
const conditions = { "==": 0x15, ">": 0x25, ">=": 0x35, "&": 0x45 } as const;
export type FilterCondition = keyof typeof conditions;

/** Offsets that name what the kernel knows about a packet. */
export const ANCILLARY_PACKET_TYPE = -0x1000 + 4;
export const ANCILLARY_VLAN_PRESENT = -0x1000 + 48;

interface Instruction {
  readonly opcode: number;
  readonly constant: number;
  readonly whenTrue?: string;
  readonly whenFalse?: string;
}

export class FilterAssembler {
  readonly #code: Instruction[] = [];
  readonly #labels = new Map<string, number>();

  label(name: string): this {
    this.#labels.set(name, this.#code.length);
    return this;
  }

  /** A = packet[offset], from network order */
  load(size: FilterSize, offset: number): this {
    this.#code.push({ opcode: LOAD_ABSOLUTE | sizes[size], constant: offset });
    return this;
  }

  /** A = packet[X + offset], from network order */
  loadIndexed(size: FilterSize, offset: number): this {
    this.#code.push({ opcode: LOAD_INDIRECT | sizes[size], constant: offset });
    return this;
  }

  /** X = 4 × the low half of packet[offset]: the length of an IPv4 header */
  loadHeaderLength(offset: number): this {
    this.#code.push({ opcode: LOAD_HEADER_LENGTH, constant: offset });
    return this;
  }

  /** X = constant */
  setIndex(constant: number): this {
    this.#code.push({ opcode: LOAD_INDEX, constant });
    return this;
  }

  /** X = X + (packet[X + offset] + 1) × 8, where IPv6's next header is; A = what it was. */
  nextHeader(offset: number): this {
    const scratch = 0;
    this.loadIndexed("u8", offset);
    this.#code.push({ opcode: STORE, constant: scratch });
    this.loadIndexed("u8", offset + 1);
    for (const [opcode, constant] of [
      [ADD, 1],
      [SHIFT_LEFT, 3],
      [ADD_INDEX, 0],
      [TO_INDEX, 0],
      [LOAD_SCRATCH, scratch],
    ])
      this.#code.push({ opcode, constant });
    return this;
  }

  and(constant: number): this {
    this.#code.push({ opcode: AND, constant });
    return this;
  }

  jump(label: string): this {
    this.#code.push({ opcode: JUMP, constant: 0, whenTrue: label });
    return this;
  }

  /** Goes on behind this where the condition does not hold. */
  jumpIf(condition: FilterCondition, constant: number, label: string): this {
    this.#code.push({ opcode: conditions[condition], constant, whenTrue: label });
    return this;
  }

  /** Goes on behind this where the condition holds. */
  jumpUnless(condition: FilterCondition, constant: number, label: string): this {
    this.#code.push({ opcode: conditions[condition], constant, whenFalse: label });
    return this;
  }

  /** Ends with the number of bytes to keep; 0 refuses the packet. */
  end(bytes: number): this {
    this.#code.push({ opcode: RETURN, constant: bytes });
    return this;
  }

  /** The instructions as the kernel wants them. */
  assemble(): Uint8Array {
    const bytes = new Uint8Array(8 * this.#code.length);
    const view = new DataView(bytes.buffer);
    const distance = (label: string | undefined, from: number) => {
      if (label === undefined) return 0;
      const target = this.#labels.get(label);
      if (target === undefined) throw new Error(`label ${label} is not set`);
      return target - from - 1;
    };
    this.#code.forEach(({ opcode, constant, whenTrue, whenFalse }, i) => {
      const [yes, no] = [distance(whenTrue, i), distance(whenFalse, i)];
      const always = opcode === JUMP;
      if (yes < 0 || no < 0 || (!always && Math.max(yes, no) > 255))
        throw new Error("classic BPF jumps forward, by 255 instructions at most");
      view.setUint16(8 * i, opcode, true);
      view.setUint8(8 * i + 2, always ? 0 : yes);
      view.setUint8(8 * i + 3, no);
      view.setUint32(8 * i + 4, (always ? yes : constant) >>> 0, true);
    });
    return bytes;
  }
}
