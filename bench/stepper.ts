// Another process of this user, followed instruction by instruction (ptrace(2)). Only its first thread stops; the others run on.
//
// From `attach` to `detach` nothing else of this thread may run: libuv asks for the ends of children whenever it hears of one, and
// would take a stop for an end. So whoever steps does not await anything meanwhile.

import koffi from "koffi";
import { check, SystemError } from "../src/native/libc.js";

const libc = koffi.load("libc.so.6");
const ptrace: (
  request: number,
  pid: number,
  address: number | bigint,
  data: number | bigint,
) => number | bigint = libc.func("int64_t ptrace(int request, int pid, int64_t address, int64_t data)");
const waitpid: (pid: number, status: Int32Array, options: number) => number = libc.func(
  "int waitpid(int pid, void *status, int options)",
);
const sigaction: (signal: number, action: Uint8Array | null, old: Uint8Array | null) => number = libc.func(
  "int sigaction(int signal, void *action, void *old)",
);

const PEEKTEXT = 1;
const PEEKUSER = 3;
const POKETEXT = 4;
const POKEUSER = 6;
const CONT = 7;
const SINGLESTEP = 9;
const DETACH = 17;
const SEIZE = 0x4206;
const INTERRUPT = 0x4207;
/** The other process ends with this one. */
const EXITKILL = 0x100000;
const WNOHANG = 1;
const WALL = 0x40000000;
const SIGTRAP = 5;
const SIGCHLD = 17;
const SA_NOCLDSTOP = 1;
/** struct sigaction: its size, and its flags. */
const SIGACTION = 152;
const SIGACTION_FLAGS = 136;
/** struct user_regs_struct on x86-64: the instruction's address, and the stack's. */
const RIP = 128;
const RSP = 152;
/** The instruction that stops. */
const INT3 = 0xccn;

export class Stepper {
  readonly #pid: number;
  readonly #status = new Int32Array(1);
  /** What was done about stopping children before. */
  readonly #formerAction = new Uint8Array(SIGACTION);
  /** A signal that arrived meanwhile; it is delivered with the next step. */
  #signal = 0;
  #ended = false;

  private constructor(pid: number) {
    this.#pid = pid;
  }

  /**
   * Stops a process.
   * @throws when there is none, or it may not be traced
   */
  static attach(pid: number): Stepper {
    if (process.arch !== "x64") throw new Error(`stepping is for x64 only, this is ${process.arch}`);
    const stepper = new Stepper(pid);
    if (ptrace(SEIZE, pid, 0, EXITKILL) !== 0) {
      const error = new SystemError(`ptrace of process ${pid}`, koffi.errno());
      if (error.code !== "EPERM") throw error;
      throw new Error(
        `${error.message}: processes cannot be traced here. A container must allow ptrace (--cap-add SYS_PTRACE, or a seccomp ` +
          "profile that has it); elsewhere see kernel.yama.ptrace_scope, and whether a debugger traces it already",
        { cause: error },
      );
    }
    // Else each step would call libuv's signal handler in this process.
    sigaction(SIGCHLD, null, stepper.#formerAction);
    const quiet = stepper.#formerAction.slice();
    quiet[SIGACTION_FLAGS] |= SA_NOCLDSTOP;
    sigaction(SIGCHLD, quiet, null);
    try {
      stepper.#stop();
    } catch (error) {
      stepper.detach();
      throw error;
    }
    return stepper;
  }

  #stop(): void {
    check(ptrace(INTERRUPT, this.#pid, 0, 0), `ptrace interrupt of process ${this.#pid}`);
    this.#wait(0);
  }

  /** Waits for the next stop. @returns whether there was one; with WNOHANG there need not be */
  #wait(options: number): boolean {
    const status = this.#status;
    if (check(waitpid(this.#pid, status, WALL | options), `waiting for process ${this.#pid}`) === 0)
      return false;
    if ((status[0] & 0xff) !== 0x7f) {
      this.#ended = true;
      throw new Error(`process ${this.#pid} ended while it was stepped`);
    }
    const signal = (status[0] >>> 8) & 0xff;
    // Stops have events above their signal; those without, and with another signal than a step's, are signals' arrivals.
    this.#signal = signal === SIGTRAP || status[0] >>> 16 !== 0 ? 0 : signal;
    return true;
  }

  #resume(request: number): void {
    check(ptrace(request, this.#pid, 0, this.#signal), `ptrace of process ${this.#pid}`);
  }

  /** Address of the next instruction. */
  get address(): number {
    return Number(ptrace(PEEKUSER, this.#pid, RIP, 0));
  }

  /** Runs one instruction. @returns the address of the next one */
  step(): number {
    do {
      ptrace(SINGLESTEP, this.#pid, 0, this.#signal);
      this.#wait(0);
    } while (this.#signal !== 0);
    return Number(ptrace(PEEKUSER, this.#pid, RIP, 0));
  }

  /** Where the function whose first instruction is the next one will return to. */
  get returnAddress(): number {
    return Number(ptrace(PEEKTEXT, this.#pid, Number(ptrace(PEEKUSER, this.#pid, RSP, 0)), 0));
  }

  /**
   * Runs at full speed up to an instruction, which is the next one then.
   * @returns false if it has not come there within so many milliseconds; it is stopped somewhere then
   */
  runTo(address: number, milliseconds: number): boolean {
    const pid = this.#pid;
    const word = BigInt.asUintN(64, BigInt(ptrace(PEEKTEXT, pid, address, 0)));
    const trap = BigInt.asIntN(64, (word & ~0xffn) | INT3);
    check(ptrace(POKETEXT, pid, address, trap), `writing to process ${pid}`);
    let there = false;
    try {
      const end = performance.now() + milliseconds;
      const nothing = new Int32Array(new SharedArrayBuffer(4));
      do {
        this.#resume(CONT);
        for (let spins = 0; !this.#wait(WNOHANG); spins++) {
          if (performance.now() > end) {
            this.#stop();
            break;
          }
          if (spins > 1000) Atomics.wait(nothing, 0, 0, 0.2);
        }
        there = this.address === address + 1;
      } while (!there && performance.now() < end);
    } finally {
      if (!this.#ended) {
        ptrace(POKETEXT, pid, address, BigInt.asIntN(64, word));
        if (there) ptrace(POKEUSER, pid, RIP, address);
      }
    }
    return there;
  }

  /** Lets the process go on by itself. */
  detach(): void {
    if (!this.#ended) ptrace(DETACH, this.#pid, 0, this.#signal);
    sigaction(SIGCHLD, this.#formerAction, null);
  }
}
