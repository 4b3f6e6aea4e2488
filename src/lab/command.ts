// Runs a command to its end and hands back what it printed. For the short-lived tools of a lab (ip, swanctl, ping,
// iperf3); what stays running is a Child (process.ts).

import { spawn } from "node:child_process";

export interface CommandResult {
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  /** Namespace to run in; the machine's own when absent. */
  namespace?: string | undefined;
  /** Text for its standard input. */
  input?: string;
  /** Milliseconds after which it is killed and the call fails. */
  timeout?: number;
  /** Hand back a non-zero status instead of throwing. */
  tolerate?: boolean;
  env?: NodeJS.ProcessEnv;
}

/** The command ended with an error, or did not end in time. The message holds the command line and what it said. */
export class CommandError extends Error {
  readonly result: CommandResult;
  constructor(line: string, reason: string, result: CommandResult) {
    const said = (result.stderr || result.stdout).trim();
    super(`${line}: ${reason}${said ? `\n${said}` : ""}`);
    this.name = "CommandError";
    this.result = result;
  }
}

/** The command line that runs `command` inside a namespace; `ip netns exec` replaces itself, so the pid is right. */
export function inside(namespace: string | undefined, command: string, args: string[]): [string, string[]] {
  return namespace === undefined ? [command, args] : ["ip", ["netns", "exec", namespace, command, ...args]];
}

export function run(command: string, args: string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [file, fileArgs] = inside(options.namespace, command, args);
  return new Promise((resolve, reject) => {
    const child = spawn(file, fileArgs, {
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      env: options.env ?? process.env,
    });
    const result: CommandResult = { status: null, stdout: "", stderr: "" };
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      result.stdout += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      result.stderr += text;
    });
    const timeout = options.timeout ?? 60_000;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, timeout);
    const line = `${command} ${args.join(" ")}`;
    child.once("error", (error) => {
      clearTimeout(timer);
      reject(new CommandError(line, error.message, result));
    });
    child.once("close", (status, signal) => {
      clearTimeout(timer);
      result.status = status;
      if (late) reject(new CommandError(line, `not done after ${timeout} ms`, result));
      else if (status === 0 || options.tolerate) resolve(result);
      else reject(new CommandError(line, signal ? `killed by ${signal}` : `exit code ${status}`, result));
    });
    // A command that ends without reading its input closes the pipe; its exit code tells the story.
    child.stdin?.on("error", () => {});
    child.stdin?.end(options.input);
  });
}

/** Runs a command that prints JSON. */
export async function runJson<T>(command: string, args: string[], options: CommandOptions = {}): Promise<T> {
  const { stdout } = await run(command, args, options);
  return JSON.parse(stdout === "" ? "[]" : stdout) as T;
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Asks `probe` again and again until it answers with something (not undefined, not false) and hands that back;
 * throws after `timeout` milliseconds, naming `what` was waited for.
 */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  timeout: number,
  interval = 50,
): Promise<T> {
  const end = performance.now() + timeout;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > end) throw new Error(`${what}: not within ${timeout} ms`);
    await sleep(interval);
  }
}
