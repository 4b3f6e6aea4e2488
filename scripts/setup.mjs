#!/usr/bin/env node
// Takes a fresh Debian 12 machine that has only Node, npm and git to a state in which Vita builds and runs:
//
//   Debian packages  →  npm packages  →  TypeScript build (dist/)  →  strongSwan plugin
//
// Every step first looks whether it has something to do, so that a run with nothing missing takes a fraction of a
// second; `npm start`, `npm test` and `npm run bench` begin with one. Only Debian packages and the plugin's place
// need root: without root, the commands that root should run are printed, and the exit code is 1.
//
// Everything is written to stderr, because stdout belongs to the command that comes next (`--json`).
//
//   --quiet   print only what is done, not what is there already

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildIsCurrent, removeStale, writeStamp } from "./build-state.mjs";
import { debianPackages } from "./packages.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const quiet = process.argv.includes("--quiet");
const isRoot = process.getuid?.() === 0;

/** Full commands that root should run, in order. */
const forRoot = [];

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

function fine(text) {
  if (!quiet) say(text);
}

function fail(text) {
  say(text);
  process.exit(1);
}

/** Runs a command with its whole output on stderr; true when it succeeded. */
function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", 2, 2],
    env: { ...process.env, ...env },
  });
  if (error) say(`${command}: ${error.message}`);
  return status === 0;
}

function nodeVersion() {
  const major = Number(process.versions.node.split(".")[0]);
  if (major < 20) fail(`Node ${process.versions.node} is too old: Vita needs Node 20 or later`);
}

// --- Debian packages -----------------------------------------------------------------------------------------------

function missingPackages() {
  const { stdout, error } = spawnSync(
    "dpkg-query",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
    ["--show", "--showformat", "${Package} ${db:Status-Status}\\n", ...debianPackages],
    { encoding: "utf8" },
  );
  if (error) {
    say(`this is not a Debian system (${error.message}); Vita needs what these packages hold:`);
    say(`  ${debianPackages.join(" ")}`);
    return [];
  }
  const installed = new Set(stdout.split("\n").filter((line) => line.endsWith(" installed")));
  return debianPackages.filter((name) => !installed.has(`${name} installed`));
}

// Debian starts and enables a daemon when its package is installed. The demo and the tests run charon in namespaces of
// their own, and a charon of the machine itself would take UDP 500 and 4500 without having been asked for. So, while
// *we* install charon-systemd, a policy-rc.d says no to strongswan.service alone, and the new service is left
// disabled (`systemctl enable --now strongswan` turns it on). A charon that was installed before is never touched, and
// neither is a policy-rc.d that is there already.
const policyFile = "/usr/sbin/policy-rc.d";
const policy = `#!/bin/sh
# Written by Vita's set-up for the time of one apt-get install, removed after it.
case "$1" in strongswan | strongswan.service) exit 101 ;; esac
exit 0
`;

function installPackages(missing) {
  const apt = ["-y", "-o", "DPkg::Lock::Timeout=300"];
  const install = ["install", ...apt, "--no-install-recommends", ...missing];
  if (!isRoot) {
    forRoot.push("apt-get update");
    forRoot.push(`DEBIAN_FRONTEND=noninteractive apt-get ${install.join(" ")}`);
    if (missing.includes("charon-systemd")) forRoot.push("systemctl disable --now strongswan");
    return;
  }
  say(`installing Debian packages: ${missing.join(" ")}`);
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const newCharon = missing.includes("charon-systemd");
  const ownPolicy = newCharon && !existsSync(policyFile);
  const removePolicy = () => rmSync(policyFile, { force: true });
  if (ownPolicy) {
    writeFileSync(policyFile, policy, { mode: 0o755 });
    process.once("exit", removePolicy);
  }
  if (!run("apt-get", ["update", ...apt], env))
    say("apt-get update failed; trying with the lists that are there");
  const installed = run("apt-get", install, env);
  if (ownPolicy) removePolicy();
  if (newCharon && installed && existsSync("/usr/bin/systemctl")) {
    const now = existsSync("/run/systemd/system") ? ["--now"] : [];
    run("systemctl", ["disable", ...now, "strongswan.service"]);
  }
  if (!installed) fail(`apt-get could not install: ${missing.join(" ")}`);
}

function debian() {
  const missing = missingPackages();
  if (missing.length > 0) installPackages(missing);
  else fine("Debian packages are there");
}

// --- npm packages --------------------------------------------------------------------------------------------------

/** Compares what is installed with the lock file by content, so that neither a checkout nor a clock can mislead it. */
function npmPackagesAreCurrent() {
  try {
    const read = (path) => JSON.parse(readFileSync(join(root, path), "utf8")).packages;
    const wanted = read("package-lock.json");
    const installed = read("node_modules/.package-lock.json");
    return Object.entries(wanted).every(
      ([path, { version, optional, devOptional }]) =>
        path === "" ||
        installed[path]?.version === version ||
        (!installed[path] && (optional || devOptional)),
    );
  } catch {
    return false;
  }
}

function npm() {
  if (npmPackagesAreCurrent()) return fine("npm packages are there");
  say("installing npm packages (npm ci)");
  // `npm test -- --x` hands its settings down in the environment; `ci` takes only what is written here.
  if (!run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=warn"])) fail("npm ci failed");
}

// --- TypeScript ----------------------------------------------------------------------------------------------------

function typescript() {
  if (buildIsCurrent(root)) return fine("dist/ is up to date");
  say("building dist/ (tsc)");
  const begun = Date.now();
  const built = run(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.json"]);
  for (const path of removeStale(root)) say(`removed ${path}: its source is gone`);
  if (!built) fail("the TypeScript build failed");
  writeStamp(root, begun);
}

// --- strongSwan plugin ---------------------------------------------------------------------------------------------

function plugin() {
  const builder = "plugin/kernel-vita/build.mjs";
  if (!existsSync(join(root, builder))) return;
  // The builder knows itself when it has nothing to do, and prints nothing then.
  if (run(process.execPath, [builder, ...(quiet ? ["--quiet"] : [])])) return;
  if (isRoot) fail("the kernel-vita plugin could not be built");
  forRoot.push(`cd ${root} && ${process.execPath} ${builder}`);
}

nodeVersion();
debian();
npm();
typescript();
plugin();

if (forRoot.length > 0) {
  say("root should run:");
  for (const command of forRoot) process.stderr.write(`  ${command}\n`);
  process.exit(1);
}
fine("ready");
