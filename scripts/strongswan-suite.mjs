#!/usr/bin/env node
// strongSwan of another Debian suite, to be run beside the one of this machine:
//
//   node scripts/strongswan-suite.mjs trixie
//
//   apt resolves charon-systemd and all that it needs for the suite (a dozen packages, 8 MB)
//     →  unpacked, not installed: build/suites/trixie/root, a folder for chroot
//     →  kernel-vita, built against the headers of just that version, in its plugin directory
//
// Prints one JSON object: the folder, and the version. What is there already is not fetched again; with --refresh the
// mirror is asked whether the suite has another version by now. Needs root, because a chroot does.

import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Apt, command, complaint, packageSources } from "../plugin/kernel-vita/apt.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const builder = join(root, "plugin/kernel-vita/build.mjs");
const packages = ["charon-systemd", "strongswan-swanctl"];
/** Directories that were merged into /usr, whose links no package of ours brings. */
const merged = ["bin", "sbin", "lib", "lib64"];
const pluginPath = "usr/lib/ipsec/plugins/libstrongswan-kernel-vita.so";

function fail(suite, why) {
  process.stderr.write(
    `strongSwan of ${suite}: ${why}\nlet this machine reach its Debian mirror, which must have the suite ${suite}\n`,
  );
  process.exit(1);
}

/** Fetches and unpacks; answers with the version of strongSwan. */
function unpack(suite, place) {
  const scratch = `${place}.${process.pid}`;
  process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));
  const sources = packageSources(suite);
  if (sources.length === 0) fail(suite, "no package source of this machine is one of Debian's");
  const apt = new Apt(join(scratch, "apt"), sources);
  const updated = apt.update();
  const version = apt.candidate(packages[0]);
  if (version === "") fail(suite, `${packages[0]} is not to be had\n${complaint(updated)}`);
  const fresh = join(scratch, "root");
  mkdirSync(fresh);
  for (const name of merged) {
    mkdirSync(join(fresh, "usr", name), { recursive: true });
    symlinkSync(join("usr", name), join(fresh, name));
  }
  for (const name of ["dev", "proc", "run", "tmp", "var"]) mkdirSync(join(fresh, name));
  for (const file of apt.packages(packages)) {
    // Not dpkg --unpack: nothing is configured, and no script of a package runs.
    const unpacked = command("dpkg-deb", ["--extract", file, fresh]);
    if (unpacked.status !== 0) fail(suite, `unpacking ${basename(file)}: ${complaint(unpacked)}`);
  }
  writeFileSync(join(scratch, "version"), version);
  rmSync(join(scratch, "apt"), { recursive: true });
  rmSync(place, { recursive: true, force: true });
  renameSync(scratch, place);
}

/** Builds the plugin where one of its sources is newer than what was built. */
function plugin(suite, place, version) {
  const target = join(place, "root", pluginPath);
  const built = command(process.execPath, [builder, "--out", target, "--suite", suite, version]);
  if (built.status !== 0) fail(suite, built.stderr.trim());
  const warnings = built.stderr.split("\n").filter((line) => /warning:|error:/.test(line));
  if (warnings.length > 0) fail(suite, `the plugin compiles with warnings:\n${warnings.join("\n")}`);
}

const suite = process.argv[2] ?? "";
if (!/^[a-z]+$/.test(suite)) fail(suite, "give the name of a Debian suite, such as trixie");
const place = join(root, "build/suites", suite);
mkdirSync(dirname(place), { recursive: true });
try {
  if (process.argv.includes("--refresh") || !existsSync(join(place, "version"))) unpack(suite, place);
  const version = readFileSync(join(place, "version"), "utf8");
  plugin(suite, place, version);
  console.log(JSON.stringify({ suite, version, root: join(place, "root") }));
} catch (error) {
  fail(suite, error.message);
}
