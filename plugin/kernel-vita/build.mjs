#!/usr/bin/env node
// Builds charon's plugin (libstrongswan-kernel-vita.so) against the strongSwan that is installed, and installs it:
//
//   version of the installed libstrongswan  →  headers of that version (Debian's source package, kept in build/)
//     →  gcc  →  build/libstrongswan-kernel-vita.so  →  /usr/lib/ipsec/plugins/ (as root)
//
// The headers are not part of any binary package. They come from the upstream tarball of the source package, which apt
// fetches and checks like any other file, from the mirrors that this machine uses; the machine's own package sources
// and lists are read, never changed. Nothing is done, and it takes milliseconds, when nothing has changed.
//
//   --out FILE                 build to FILE and do not install
//   --quiet                    say nothing when there is nothing to do
//   VITA_STRONGSWAN_SRC=DIR    take the headers from this strongSwan source tree instead
//
// Exit code 1 with a message that says what to do when something is missing.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const build = join(here, "../../build");
const library = "libstrongswan-kernel-vita.so";
const pluginDirectory = "/usr/lib/ipsec/plugins";

const args = process.argv.slice(2);
const quiet = args.includes("--quiet");
const outAt = args.indexOf("--out");
const out = outAt < 0 ? undefined : args[outAt + 1];
const givenSource = process.env.VITA_STRONGSWAN_SRC;

// What Debian's strongSwan was configured with, as far as its headers depend on it: ME changes the layout of structs that
// plugins see, and memwipe() has another implementation without explicit_bzero().
const flags = [
  "-shared",
  "-fPIC",
  "-O2",
  "-g",
  "-Wall",
  "-Wextra",
  // strongSwan's METHOD macro gives every method a `this`, whether it needs one or not.
  "-Wno-unused-parameter",
  // A symbol that is missing must stop charon at its start, not at the first SA.
  "-Wl,-z,relro,-z,now",
  "-D_GNU_SOURCE",
  "-DCONFIG_H_INCLUDED",
  "-DHAVE_SIGWAITINFO",
  "-DHAVE_CLOSEFROM",
  "-DHAVE_EXPLICIT_BZERO",
  "-DME",
];

function say(text) {
  process.stderr.write(`kernel-vita: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}

function command(name, commandArgs, options = {}) {
  const result = spawnSync(name, commandArgs, { encoding: "utf8", maxBuffer: 1 << 28, ...options });
  if (result.error) fail(`${name}: ${result.error.message}`);
  return result;
}

/** The last lines of what a command said. */
function complaint({ stdout, stderr }) {
  return `${stdout}${stderr}`.trim().split("\n").slice(-6).join("\n");
}

// --- which strongSwan ----------------------------------------------------------------------------------------------

/** Upstream part of a Debian version: `5.9.8` of `5.9.8-5+deb12u6`. */
function upstream(version) {
  return version.replace(/^\d+:/, "").replace(/-[^-]*$/, "");
}

function installedVersion() {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholder
  const { status, stdout } = command("dpkg-query", ["--show", "--showformat", "${Version}", "libstrongswan"]);
  if (status !== 0 || stdout === "") {
    fail("strongSwan is not installed; root should run: apt-get install charon-systemd strongswan-swanctl");
  }
  return stdout;
}

/** What a source tree says of itself. Plugins must name this version to be loaded (strongSwan 6.0.3 and later). */
function treeVersion(tree) {
  const file = join(tree, "configure.ac");
  const version =
    existsSync(file) && /AC_INIT\(\[strongSwan\],\s*\[([^\]]+)\]/.exec(readFileSync(file, "utf8"));
  if (!version || !existsSync(join(tree, "src/libcharon/daemon.h"))) {
    fail(`${tree} is not a strongSwan source tree (configure.ac and src/libcharon/daemon.h)`);
  }
  return version[1];
}

// --- headers -------------------------------------------------------------------------------------------------------

/** The machine's package sources, with every `deb` turned into `deb-src`. */
function writeSources(directory) {
  const { stdout } = command("apt-config", [
    "shell",
    "list",
    "Dir::Etc::sourcelist/f",
    "parts",
    "Dir::Etc::sourceparts/d",
  ]);
  const setting = (name) => new RegExp(`^${name}='(.*)'$`, "m").exec(stdout)?.[1] ?? "";
  const list = setting("list");
  const parts = setting("parts");
  const inParts = existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : [];
  mkdirSync(join(directory, "parts"));
  writeFileSync(join(directory, "sources.list"), "");
  for (const [i, file] of [list, ...inParts].entries()) {
    if (!existsSync(file)) continue;
    const text = readFileSync(file, "utf8");
    if (file.endsWith(".sources")) {
      const sources = text.replace(/^Types:.*$/gim, "Types: deb-src");
      writeFileSync(join(directory, "parts", `${i}.sources`), sources);
    } else if (file.endsWith(".list")) {
      const lines = text.split("\n").filter((line) => /^\s*deb(-src)?\s/.test(line));
      const sources = new Set(lines.map((line) => line.replace(/^\s*deb(-src)?\s/, "deb-src ")));
      writeFileSync(join(directory, "parts", `${i}.list`), `${[...sources].join("\n")}\n`);
    }
  }
}

/** Fetches the upstream tarball of a version and returns its path. */
function fetchTarball(version, directory) {
  writeSources(directory);
  mkdirSync(join(directory, "lists/partial"), { recursive: true });
  mkdirSync(join(directory, "cache/archives/partial"), { recursive: true });
  const apt = [
    `Dir::State::lists=${directory}/lists`,
    `Dir::Cache=${directory}/cache`,
    `Dir::Etc::sourcelist=${directory}/sources.list`,
    `Dir::Etc::sourceparts=${directory}/parts`,
    // apt's own user may not enter our directory.
    "APT::Sandbox::User=root",
    "APT::Get::Only-Source=true",
  ].flatMap((option) => ["-o", option]);
  const otherwise =
    `let this machine reach its Debian mirror, or unpack strongSwan ${upstream(version)} ` +
    "somewhere and set VITA_STRONGSWAN_SRC to it";
  const updated = command("apt-get", ["update", ...apt]);
  const offered = [
    ...command("apt-cache", ["showsrc", "strongswan", ...apt]).stdout.matchAll(/^Version: (.*)$/gm),
  ].map(([, offer]) => offer);
  const usable = offered.filter((offer) => upstream(offer) === upstream(version));
  if (usable.length === 0) {
    const why =
      offered.length === 0 ? `no source package was found\n${complaint(updated)}` : `only ${offered}`;
    fail(`headers of strongSwan ${upstream(version)}: ${why}\n${otherwise}`);
  }
  // Of several revisions of one upstream version, any has the same tarball.
  const choice = usable.includes(version) ? version : usable[0];
  const got = command(
    "apt-get",
    ["source", "--download-only", "--tar-only", ...apt, `strongswan=${choice}`],
    {
      cwd: directory,
    },
  );
  const tarball = readdirSync(directory).find((name) => /\.orig\.tar\.[a-z0-9]+$/.test(name));
  if (!tarball) fail(`headers of strongSwan ${choice}: ${complaint(got)}\n${otherwise}`);
  return join(directory, tarball);
}

/** The header tree of a version, in build/; fetched if it is not there yet. */
function headers(version) {
  const tree = join(build, `strongswan-${upstream(version)}`);
  if (existsSync(join(tree, "src/libcharon/daemon.h"))) return tree;
  say(`fetching the headers of strongSwan ${upstream(version)}`);
  mkdirSync(build, { recursive: true });
  const directory = mkdtempSync(join(build, "headers-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  const tarball = fetchTarball(version, directory);
  const fresh = join(directory, "tree");
  mkdirSync(fresh);
  const wanted = ["*/configure.ac", "*/src/libstrongswan/*.h", "*/src/libcharon/*.h"];
  const unpacked = command("tar", [
    "-xf",
    tarball,
    "-C",
    fresh,
    "--strip-components=1",
    "--wildcards",
    ...wanted,
  ]);
  if (unpacked.status !== 0) fail(`unpacking ${basename(tarball)}: ${complaint(unpacked)}`);
  if (treeVersion(fresh) !== upstream(version))
    fail(`${basename(tarball)} holds strongSwan ${treeVersion(fresh)}`);
  try {
    renameSync(fresh, tree);
  } catch (error) {
    // Another build was faster: what it has put there is the same.
    if (!existsSync(join(tree, "src/libcharon/daemon.h"))) throw error;
  }
  return tree;
}

// --- compile and install -------------------------------------------------------------------------------------------

function sources(ending) {
  return readdirSync(here)
    .filter((name) => name.endsWith(ending))
    .sort()
    .map((name) => join(here, name));
}

function digest(...parts) {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\0");
  return hash.digest("hex");
}

/** Of everything that the library is made from. */
function inputs(origin) {
  const files = [...sources(".c"), ...sources(".h"), fileURLToPath(import.meta.url)];
  return digest(origin, ...files.map((file) => readFileSync(file)));
}

function compile(tree, target) {
  const version = treeVersion(tree);
  const temporary = `${target}.${process.pid}`;
  const compiled = command("gcc", [
    ...flags,
    `-DVERSION="${version}"`,
    // Warnings are about our code only.
    "-isystem",
    join(tree, "src/libstrongswan"),
    "-isystem",
    join(tree, "src/libcharon"),
    ...sources(".c"),
    "-o",
    temporary,
  ]);
  process.stderr.write(compiled.stderr);
  if (compiled.status !== 0) {
    rmSync(temporary, { force: true });
    fail(`gcc failed against the headers of strongSwan ${version}`);
  }
  renameSync(temporary, target);
  say(`built ${basename(target)} for strongSwan ${version}`);
}

function same(a, b) {
  return existsSync(a) && existsSync(b) && readFileSync(a).equals(readFileSync(b));
}

/** A running charon has the old file mapped, so it is replaced, never written to. */
function install(file) {
  const place = join(pluginDirectory, library);
  if (same(file, place)) return false;
  if (!existsSync(pluginDirectory))
    fail(`${pluginDirectory} does not exist; install strongSwan's charon first`);
  const temporary = `${place}.${process.pid}`;
  try {
    copyFileSync(file, temporary);
    chmodSync(temporary, 0o644);
    renameSync(temporary, place);
  } catch (error) {
    if (error.code !== "EACCES") throw error;
    fail(`${pluginDirectory} is root's; root should run: install -m 644 ${resolve(file)} ${place}`);
  }
  say(`installed ${place}`);
  return true;
}

if (outAt >= 0 && !out) fail("--out wants a file");
const installed = givenSource ? undefined : installedVersion();
const origin = givenSource ? `${resolve(givenSource)} ${treeVersion(givenSource)}` : upstream(installed);

if (out) {
  compile(givenSource ?? headers(installed), resolve(out));
} else {
  const file = join(build, library);
  const stampFile = join(build, "kernel-vita.stamp");
  const stamp = existsSync(stampFile) ? readFileSync(stampFile, "utf8") : "";
  const wanted = inputs(origin);
  let busy = false;
  if (stamp !== wanted || !existsSync(file)) {
    mkdirSync(build, { recursive: true });
    compile(givenSource ?? headers(installed), file);
    writeFileSync(stampFile, wanted);
    busy = true;
  }
  if (install(file)) busy = true;
  if (!busy && !quiet) say("plugin is up to date");
}
