import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Contender } from "./contender.js";
import { type Code, codeAt, jitDumpIn, lineAt, readJitDump } from "./jit-dump.js";
import { Stepper } from "./stepper.js";

// The function stands alone, and is compiled before its process says that it is warm.
const FLAGS = ["--perf-prof", "--no-turbo-inlining", "--no-maglev", "--no-concurrent-recompilation"];

/** Runs `look` while the process that calls a function with these numbers of rounds is there. */
async function counting(
  rounds: readonly number[],
  look: (pid: number, dump: Buffer) => void,
  ends = false,
): Promise<void> {
  const cwd = mkdtempSync(join(tmpdir(), "vita-stepper-"));
  let child: Contender<number> | undefined;
  try {
    child = await Contender.start<number>("testing/counting", rounds.map(String), { flags: FLAGS, cwd });
    look(child.pid, jitDumpIn(cwd));
    // It goes on by itself, and nobody has taken it for ended.
    if (!ends) assert.equal(await child.round(0), 0);
  } finally {
    child?.stop();
    rmSync(cwd, { recursive: true, force: true });
  }
}

/** The code of the function that the other process calls. */
function findCode(codes: readonly Code[]): Code {
  const code = codes.findLast(({ name }) => /^JS:\*'?countRounds .*counting\.js:\d+:\d+$/.test(name));
  assert.ok(code, "V8 has not compiled countRounds");
  return code;
}

test("each round of a loop takes the same number of instructions, in code that V8 has told of", async (t) => {
  await counting([128, 256, 512], (pid, dump) => {
    const code = findCode(readJitDump(dump));
    const line = Number(/:(\d+):\d+$/.exec(code.name)?.[1]);
    const stepper = Stepper.attach(pid);
    const counts: number[] = [];
    try {
      while (counts.length < 3) {
        assert.ok(stepper.runTo(code.address, 10_000));
        assert.equal(stepper.address, code.address);
        const end = stepper.returnAddress;
        let count = 0;
        for (let address = code.address; address !== end; address = stepper.step(), count++) {
          assert.equal(codeAt([code], address), code);
          const distance = (lineAt(code, address) ?? 0) - line;
          assert.ok(distance >= 0 && distance < 6, `line ${distance} of the function`);
        }
        counts.push(count);
      }
      assert.equal(stepper.runTo(code.address + code.size - 1, 20), false, "it never comes there");
    } finally {
      stepper.detach();
    }
    const [few, twice, fourTimes] = counts.sort((a, b) => a - b);
    t.diagnostic(`${counts.join(", ")} instructions`);
    const round = (twice - few) / 128;
    assert.ok(round >= 4 && round <= 20, `${round} instructions a round`);
    assert.equal(fourTimes - twice, 256 * round);
  });
});

test("of a record of code that is cut off, what is complete is read", async () => {
  await counting([1], (_, dump) => {
    const all = readJitDump(dump);
    const some = readJitDump(dump.subarray(0, dump.length >>> 1));
    assert.ok(some.length > 10 && some.length < all.length);
    assert.deepEqual(some, all.slice(0, some.length));
    assert.deepEqual(readJitDump(Buffer.alloc(0)), []);
  });
});

test("what is not there, or traced already, cannot be stepped", async () => {
  assert.throws(() => Stepper.attach(2 ** 22 + 1), /^SystemError: ptrace of process \d+: ESRCH/);
  await counting([1], (pid) => {
    const stepper = Stepper.attach(pid);
    try {
      assert.throws(() => Stepper.attach(pid), /EPERM.*--cap-add SYS_PTRACE.*traces it already/);
    } finally {
      stepper.detach();
    }
  });
});

test("a process that ends while it is stepped is told, and nothing waits for it", async () => {
  const look = (pid: number) => {
    const stepper = Stepper.attach(pid);
    try {
      process.kill(pid, "SIGKILL");
      assert.throws(() => {
        for (;;) stepper.step();
      }, /process \d+ ended while it was stepped/);
    } finally {
      stepper.detach();
    }
    assert.throws(() => process.kill(pid, 0), /ESRCH/);
  };
  await counting([1], look, true);
});
