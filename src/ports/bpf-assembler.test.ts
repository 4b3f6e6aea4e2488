import assert from "node:assert/strict";
import { test } from "node:test";
import { BpfAssembler, r0, r1, r2, r10 } from "./bpf-assembler.js";

const hex = (a: BpfAssembler) => Buffer.from(a.assemble()).toString("hex").match(/.{16}/g);

test("instructions are encoded as RFC 9669 has them", () => {
  const a = new BpfAssembler()
    .load("u32", r2, r1, 4)
    .store("u64", r10, -16, r2)
    .storeConstant("u32", r10, -8, -1)
    .alu("and", r2, 15)
    .aluRegister("add", r2, r1)
    .fromNetwork16(r2)
    .loadMap(r1, 5)
    .call(51)
    .exit();
  assert.deepEqual(hex(a), [
    "6112040000000000",
    "7b2af0ff00000000",
    "620af8ffffffffff",
    "570200000f000000",
    "0f12000000000000",
    "dc02000010000000",
    "1811000005000000",
    "0000000000000000",
    "8500000033000000",
    "9500000000000000",
  ]);
});

test("jumps count instructions from the one behind them, both halves of a constant included", () => {
  const a = new BpfAssembler()
    .label("top")
    .jumpIf(">=", r2, 7, "end")
    .loadMap(r1, 3)
    .jumpIfRegister("!=", r1, r2, "top")
    .jump("end")
    .alu("mov", r0, 1)
    .label("end")
    .exit();
  assert.deepEqual(
    hex(a)?.filter((code) => /^(35|5d|05)/.test(code)),
    ["3502050007000000", "5d21fcff00000000", "0500010000000000"],
  );
});

test("labels are set exactly once", () => {
  assert.throws(() => new BpfAssembler().label("a").label("a"), /a is set twice/);
  assert.throws(() => new BpfAssembler().jump("b").assemble(), /b is not set/);
});
