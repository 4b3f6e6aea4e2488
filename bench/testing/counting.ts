// What the stepper's test steps through: calls one function over and over, with numbers of rounds from the command line, which
// take turns.

import { setImmediate } from "node:timers/promises";
import koffi from "koffi";
import { answerRounds } from "../contender.js";

const numbers = process.argv.slice(2).map(Number);

function countRounds(rounds: number): number {
  let sum = 0;
  for (let i = 0; i < rounds; i = (i + 1) | 0) sum = (Math.imul(sum, 3) + i) | 0;
  return sum;
}

let result = 0;
const callAll = () => {
  for (const number of numbers) result ^= countRounds(number);
};
for (let i = 0; i < 5_000; i++) callAll();

const flush = koffi.load("libc.so.6").func("int fflush(void *stream)");
answerRounds(() => flush(null), 0);
process.once("disconnect", () => process.exit(result & 1));
for (;;) {
  callAll();
  await setImmediate();
}
