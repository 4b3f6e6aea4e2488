// The workers' packet memory, in two shared files: the frames, and what the workers must know of each other to use them
// (ports/packet-pool.ts). The supervisor makes both. Those of an earlier run will do as well if they are as large: the first
// worker sets them up anew.

import { statSync } from "node:fs";
import type { Configuration } from "../config/configuration.js";
import { FRAME_SIZE, Frames } from "../memory/frames.js";
import { HUGE_PAGE, openSharedRegion, populateNew } from "../memory/region.js";
import { PacketPool } from "../ports/packet-pool.js";
import type { RunDirectory } from "./run-directory.js";

/** @throws Error that says what to do when there is no room for it */
export function makePacketMemory(run: RunDirectory, { workers, limits }: Configuration): void {
  if (isThere(run, workers, workers * limits.frames)) return;
  const count = workers * limits.frames;
  const path = run.fresh("frames");
  const region = openSharedRegion(path, "create", count * FRAME_SIZE);
  populateNew(region, path, region.size);
  for (let offset = 0; offset < region.size; offset += HUGE_PAGE) region.collapse(offset);
  region.unmap();
  PacketPool.create(run.fresh("ports"), count, workers);
}

function isThere(run: RunDirectory, workers: number, frames: number): boolean {
  try {
    const { size } = statSync(run.shared("frames"));
    return size === frames * FRAME_SIZE && PacketPool.fits(run.shared("ports"), frames, workers);
  } catch {
    return false;
  }
}

/** Maps it, and changes nothing. @param annex bytes of this worker's own behind the frames */
export function openPacketMemory(
  run: RunDirectory,
  { workers, limits }: Configuration,
  worker: number,
  annex: number,
): { frames: Frames; pool: PacketPool } {
  const region = openSharedRegion(run.shared("frames"), "write", 0, annex);
  const frames = new Frames(workers * limits.frames, { region, workers });
  return { frames, pool: PacketPool.open(run.shared("ports"), frames, worker) };
}
