// The programs by which a node sets the kernel's network up: ip (iproute2) and nft (nftables). For set-up and for changes of
// policies, never for packets: each call is a process.

import { execFileSync } from "node:child_process";

/** Runs `ip`. @returns what it prints. @throws Error of a command that failed; `saidBy` has its own words */
export function ip(...args: string[]): string {
  return execFileSync("ip", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Has nftables carry a script out, as one transaction. @throws as `ip` */
export function nft(script: string): void {
  execFileSync("nft", ["-f", "-"], { input: script, encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] });
}

/** What a command that failed said; empty when it could not even be started. */
export function saidBy(error: unknown): string {
  return String((error as { stderr?: unknown }).stderr ?? "").trim();
}
