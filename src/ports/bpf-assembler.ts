// An assembler for eBPF, as much of it as an XDP program needs: one method an instruction, labels for jumps. The
// instruction set is RFC 9669; each instruction is 8 bytes (16 for a 64-bit constant):
//
//   opcode 8 | destination register 4, source register 4 | offset 16 | immediate 32

/** Registers. r0: result; r1 to r5: arguments, lost in a call; r6 to r9: kept over a call; r10: frame pointer. */
export const r0 = 0;
export const r1 = 1;
export const r2 = 2;
export const r3 = 3;
export const r4 = 4;
export const r5 = 5;
export const r6 = 6;
export const r7 = 7;
export const r8 = 8;
export const r9 = 9;
export const r10 = 10;

const sizes = { u8: 0x10, u16: 0x08, u32: 0x00, u64: 0x18 } as const;
export type Size = keyof typeof sizes;

const operations = {
  add: 0x00,
  sub: 0x10,
  mul: 0x20,
  or: 0x40,
  and: 0x50,
  lsh: 0x60,
  rsh: 0x70,
  mov: 0xb0,
} as const;
export type Operation = keyof typeof operations;

const conditions = {
  "==": 0x10,
  ">": 0x20,
  ">=": 0x30,
  "&": 0x40,
  "!=": 0x50,
  "<": 0xa0,
  "<=": 0xb0,
} as const;
export type Condition = keyof typeof conditions;

const LDX = 0x61;
const ST = 0x62;
const STX = 0x63;
const ALU64 = 0x07;
const JMP = 0x05;
const JMP32 = 0x06;
const FROM_REGISTER = 0x08;
const LD_IMM64 = 0x18;
const TO_BIG_ENDIAN = 0xdc;
const JA = 0x05;
const CALL = 0x85;
const EXIT = 0x95;
const PSEUDO_MAP_FD = 1;
const PSEUDO_MAP_VALUE = 2;

interface Instruction {
  readonly opcode: number;
  readonly dst: number;
  readonly src: number;
  readonly offset: number;
  readonly immediate: number;
  /** Jumps: where to. */
  readonly label?: string;
}

export class BpfAssembler {
  readonly #code: Instruction[] = [];
  readonly #labels = new Map<string, number>();

  #emit(opcode: number, dst = 0, src = 0, offset = 0, immediate = 0, label?: string): this {
    const instruction = { opcode, dst, src, offset, immediate };
    this.#code.push(label === undefined ? instruction : { ...instruction, label });
    return this;
  }

  /** Gives the next instruction a name to jump to. */
  label(name: string): this {
    if (this.#labels.has(name)) throw new Error(`label ${name} is set twice`);
    this.#labels.set(name, this.#code.length);
    return this;
  }

  /** dst = *(size *)(src + offset), zero-extended */
  load(size: Size, dst: number, src: number, offset: number): this {
    return this.#emit(LDX | sizes[size], dst, src, offset);
  }

  /** *(size *)(dst + offset) = src */
  store(size: Size, dst: number, offset: number, src: number): this {
    return this.#emit(STX | sizes[size], dst, src, offset);
  }

  /** *(size *)(dst + offset) = constant */
  storeConstant(size: Size, dst: number, offset: number, constant: number): this {
    return this.#emit(ST | sizes[size], dst, 0, offset, constant);
  }

  /** dst = dst operation constant, in 64 bits */
  alu(operation: Operation, dst: number, constant: number): this {
    return this.#emit(ALU64 | operations[operation], dst, 0, 0, constant);
  }

  /** dst = dst operation src, in 64 bits */
  aluRegister(operation: Operation, dst: number, src: number): this {
    return this.#emit(ALU64 | FROM_REGISTER | operations[operation], dst, src);
  }

  /** dst = the 16-bit number in network order that was loaded into dst */
  fromNetwork16(dst: number): this {
    return this.#emit(TO_BIG_ENDIAN, dst, 0, 0, 16);
  }

  jump(label: string): this {
    return this.#emit(JA, 0, 0, 0, 0, label);
  }

  /** Jumps if dst condition constant, in 64 bits, unsigned; the constant is sign-extended. */
  jumpIf(condition: Condition, dst: number, constant: number, label: string): this {
    return this.#emit(JMP | conditions[condition], dst, 0, 0, constant, label);
  }

  /** The same over the low 32 bits. */
  jumpIf32(condition: Condition, dst: number, constant: number, label: string): this {
    return this.#emit(JMP32 | conditions[condition], dst, 0, 0, constant | 0, label);
  }

  jumpIfRegister(condition: Condition, dst: number, src: number, label: string): this {
    return this.#emit(JMP | FROM_REGISTER | conditions[condition], dst, src, 0, 0, label);
  }

  #constant64(dst: number, kind: number, low: number, high: number): this {
    return this.#emit(LD_IMM64, dst, kind, 0, low).#emit(0, 0, 0, 0, high);
  }

  /** dst = the map behind the descriptor */
  loadMap(dst: number, fd: number): this {
    return this.#constant64(dst, PSEUDO_MAP_FD, fd, 0);
  }

  /** dst = the address of the only value of an array map with one entry */
  loadMapValue(dst: number, fd: number): this {
    return this.#constant64(dst, PSEUDO_MAP_VALUE, fd, 0);
  }

  /** r0 = helper(r1, …, r5) */
  call(helper: number): this {
    return this.#emit(CALL, 0, 0, 0, helper);
  }

  exit(): this {
    return this.#emit(EXIT);
  }

  /** The instructions as the kernel wants them. */
  assemble(): Uint8Array {
    const bytes = new Uint8Array(8 * this.#code.length);
    const view = new DataView(bytes.buffer);
    this.#code.forEach(({ opcode, dst, src, offset, immediate, label }, i) => {
      let jump = offset;
      if (label !== undefined) {
        const target = this.#labels.get(label);
        if (target === undefined) throw new Error(`label ${label} is not set`);
        jump = target - i - 1;
      }
      view.setUint8(8 * i, opcode);
      view.setUint8(8 * i + 1, dst | (src << 4));
      view.setInt16(8 * i + 2, jump, true);
      view.setInt32(8 * i + 4, immediate, true);
    });
    return bytes;
  }
}
