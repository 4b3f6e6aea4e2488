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
//   --suite NAME VERSION       with --out: build for the strongSwan of that version in another Debian suite
//   --quiet                    say nothing when there is nothing to do
//   VITA_STRONGSWAN_SRC=DIR    take the headers from this strongSwan source tree instead
//
// Exit code 1 with a message that says what to do when something is missing.

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
import { command, complaint, strongswanTarball, upstream } from "./apt.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const build = join(here, "../../build");
const library = "libstrongswan-kernel-vita.so";
const pluginDirectory = "/usr/lib/ipsec/plugins";

const args = process.argv.slice(2);
const quiet = args.includes("--quiet");
const outAt = args.indexOf("--out");
const out = outAt < 0 ? undefined : args[outAt + 1];
const suiteAt = args.indexOf("--suite");
const suite = suiteAt < 0 ? undefined : args[suiteAt + 1];
const givenSource = process.env.VITA_STRONGSWAN_SRC;

// What Debian's strongSwan was configured with, as far as its headers depend on it: memwipe() has another implementation
// without explicit_bzero(). ME, which changes the layout of some structs, is left to the one source that needs to know.
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
];

function say(text) {
  process.stderr.write(`kernel-vita: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}

// --- which strongSwan ----------------------------------------------------------------------------------------------

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

/** The header tree of a version, in build/; fetched if it is not there yet. */
function headers(version) {
  const tree =
    suite === undefined
      ? join(build, `strongswan-${upstream(version)}`)
      : join(build, "suites", `${suite}-headers-${upstream(version)}`);
  if (existsSync(join(tree, "src/libcharon/daemon.h"))) return tree;
  say(`fetching the headers of strongSwan ${upstream(version)}`);
  mkdirSync(build, { recursive: true });
  const directory = mkdtempSync(join(build, "headers-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  let tarball = "";
  try {
    tarball = strongswanTarball(version, suite, directory);
  } catch (error) {
    fail(
      `headers of strongSwan ${upstream(version)}: ${error.message}\nlet this machine reach its Debian mirror, or ` +
        `unpack strongSwan ${upstream(version)} somewhere and set VITA_STRONGSWAN_SRC to it`,
    );
  }
  const fresh = join(directory, "tree");
  mkdirSync(dirname(tree), { recursive: true });
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
const suiteVersion = suiteAt < 0 ? undefined : args[suiteAt + 2];
if (suiteAt >= 0 && !(out && suite && suiteVersion)) fail("--suite wants a name, a version, and --out");
const installed = givenSource ? undefined : (suiteVersion ?? installedVersion());
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
