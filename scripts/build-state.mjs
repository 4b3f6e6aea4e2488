// Says whether dist/ still is what the sources give, and keeps it free of files whose source is gone: a test that was
// renamed would otherwise run for ever under its old name.

import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const sourceFolders = ["src", "bench", "test"];
const settings = ["tsconfig.json", "package-lock.json"];
const stampFile = "dist/.build-stamp.json";

function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

function sources(root) {
  return sourceFolders
    .flatMap((folder) => filesBelow(join(root, folder)))
    .filter((path) => path.endsWith(".ts"))
    .map((path) => path.slice(root.length + 1))
    .sort();
}

/** True when the last good build saw the same set of sources and none of them has changed since it began. */
export function buildIsCurrent(root) {
  try {
    const stamp = JSON.parse(readFileSync(join(root, stampFile), "utf8"));
    const now = sources(root);
    if (now.length !== stamp.sources.length || now.some((path, i) => path !== stamp.sources[i])) return false;
    return [...settings, ...now].every((path) => statSync(join(root, path)).mtimeMs <= stamp.begun);
  } catch {
    return false;
  }
}

/** `begun`: the time (ms) at which the build began, so that a source saved while it ran counts as newer. */
export function writeStamp(root, begun) {
  writeFileSync(join(root, stampFile), JSON.stringify({ begun, sources: sources(root) }));
}

/** Removes compiled files whose source is gone and returns their paths. */
export function removeStale(root) {
  const stale = [];
  for (const folder of sourceFolders) {
    for (const path of filesBelow(join(root, "dist", folder))) {
      const relative = path.slice(join(root, "dist").length + 1);
      const source = relative.replace(/\.js(\.map)?$/, ".ts");
      if (source === relative || existsSync(join(root, source))) continue;
      rmSync(path, { force: true });
      stale.push(join("dist", relative));
    }
  }
  return stale;
}
