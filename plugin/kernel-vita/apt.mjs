// apt with package sources and lists of its own, in a folder: fetches packages and sources of this machine's Debian, or of
// another suite from the same mirrors, checked like any other package. The machine's own sources are read, never
// changed, and its own packages play no part.
//
//   machine's sources  →  `deb` and `deb-src` of the suite that is wanted, each source in a file of its own
//
// A suite belongs to what is named after this machine's: where `bookworm`, `bookworm-updates` and `bookworm-security` are
// used, `trixie` means `trixie`, `trixie-updates` and `trixie-security`. sid has neither updates nor security.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Runs a command and returns what it said, whatever its exit status. @throws Error when it cannot be run */
export function command(name, args, options = {}) {
  const result = spawnSync(name, args, { encoding: "utf8", maxBuffer: 1 << 28, ...options });
  if (result.error) throw new Error(`${name}: ${result.error.message}`);
  return result;
}

/** The last lines of what a command said. */
export function complaint({ stdout, stderr }) {
  const lines = `${stdout}${stderr}`.trim().split("\n");
  const errors = lines.filter((line) => /^[EW]:/.test(line));
  return (errors.length > 0 ? errors : lines).slice(-6).join("\n");
}

/** Names of this machine's Debian, as they stand in package sources. */
function ownSuites() {
  const release = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(release)?.[1];
  return [...(codename ? [codename] : []), "oldstable", "stable", "testing"];
}

/** The suite that stands for this machine's one; undefined where there is none, or where the source is not Debian's. */
function translate(word, suite) {
  const own = ownSuites().find((name) => word === name || word.startsWith(`${name}-`));
  if (own === undefined) return undefined;
  const rest = word.slice(own.length);
  if (rest !== "" && (suite === "sid" || suite === "unstable" || rest.startsWith("-backports")))
    return undefined;
  return `${suite}${rest}`;
}

/** Sources in the one-line style. @param suite undefined takes them as they are */
function translateLines(text, suite) {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*deb(?:-src)?\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s*(.*)$/.exec(line);
    if (!match) return [];
    const [, options = "", uri, word, components] = match;
    const wanted = suite === undefined ? word : translate(word, suite);
    if (wanted === undefined) return [];
    return ["deb", "deb-src"].map((type) => `${type} ${options}${uri} ${wanted} ${components}`);
  });
}

/** Sources in the deb822 style, one stanza each. */
function translateStanzas(text, suite) {
  return text.split(/\n\s*\n/).flatMap((stanza) => {
    // A comment in the middle of a field's lines would end it.
    const plain = stanza.replace(/^#.*\n?/gm, "");
    const words = /^Suites:(.*)$/im.exec(plain)?.[1].trim().split(/\s+/);
    if (!words) return [];
    const wanted = suite === undefined ? words : words.flatMap((word) => translate(word, suite) ?? []);
    if (wanted.length === 0) return [];
    return [
      plain
        .replace(/^Types:.*$/im, "Types: deb deb-src")
        .replace(/^Suites:.*$/im, `Suites: ${wanted.join(" ")}`)
        .trim(),
    ];
  });
}

/** The package sources for a suite, as the content of files in /etc/apt/sources.list.d. */
export function packageSources(suite) {
  const { stdout } = command("apt-config", [
    "shell",
    "list",
    "Dir::Etc::sourcelist/f",
    "parts",
    "Dir::Etc::sourceparts/d",
  ]);
  const setting = (name) => new RegExp(`^${name}='(.*)'$`, "m").exec(stdout)?.[1] ?? "";
  const parts = setting("parts");
  const inParts = existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : [];
  const found = [setting("list"), ...inParts]
    .filter((file) => existsSync(file))
    .flatMap((file) => {
      const text = readFileSync(file, "utf8");
      if (file.endsWith(".sources"))
        return translateStanzas(text, suite).map((content) => ({ ending: "sources", content }));
      const lines = [...new Set(translateLines(text, suite))];
      const sites = new Set(lines.map((line) => line.replace(/^deb(-src)?/, "")));
      return [...sites].map((site) => ({ ending: "list", content: `deb${site}\ndeb-src${site}` }));
    });
  // Small ones first. Security updates' sources are complete there, and not always elsewhere.
  return found.sort(
    (a, b) => Number(b.content.includes("security")) - Number(a.content.includes("security")),
  );
}

export class Apt {
  #directory;
  #options;

  /**
   * @param directory an empty folder, which holds lists and packages afterwards
   * @param sources of `packageSources`, all or some
   */
  constructor(directory, sources) {
    this.#directory = directory;
    for (const folder of ["parts", "lists/partial", "cache/archives/partial"])
      mkdirSync(join(directory, folder), { recursive: true });
    // Nothing is installed, as far as this apt knows.
    writeFileSync(join(directory, "status"), "");
    writeFileSync(join(directory, "sources.list"), "");
    for (const [i, { ending, content }] of sources.entries())
      writeFileSync(join(directory, "parts", `${i}.${ending}`), `${content}\n`);
    this.#options = [
      `Dir::State::lists=${directory}/lists`,
      `Dir::State::status=${directory}/status`,
      `Dir::Cache=${directory}/cache`,
      `Dir::Etc::sourcelist=${directory}/sources.list`,
      `Dir::Etc::sourceparts=${directory}/parts`,
      // apt's own user may not enter our directory.
      "APT::Sandbox::User=root",
      "APT::Install-Recommends=false",
      "APT::Get::Only-Source=true",
      // What apt-file has apt fetch besides: large, and not needed here.
      "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
      // Hooks are about the machine's own packages.
      "APT::Update::Post-Invoke::=true",
      "Acquire::Retries=2",
      "Acquire::http::Timeout=20",
      "Acquire::https::Timeout=20",
    ].flatMap((option) => ["-o", option]);
  }

  update() {
    return command("apt-get", ["update", ...this.#options]);
  }

  /** Versions of a source package that are offered. */
  sourceVersions(name) {
    const { stdout } = command("apt-cache", ["showsrc", name, ...this.#options]);
    return [...new Set([...stdout.matchAll(/^Version: (.*)$/gm)].map(([, version]) => version))];
  }

  /** Version of a binary package that would be installed; empty for none. */
  candidate(name) {
    const { stdout } = command("apt-cache", ["policy", name, ...this.#options]);
    const version = /^\s*Candidate: (.*)$/m.exec(stdout)?.[1] ?? "";
    return version === "(none)" ? "" : version;
  }

  /** Fetches the upstream tarball of a source package: its path, or undefined with apt's words in `said`. */
  tarball(name, version) {
    const got = command(
      "apt-get",
      ["source", "--download-only", "--tar-only", ...this.#options, `${name}=${version}`],
      { cwd: this.#directory },
    );
    const file = readdirSync(this.#directory).find((entry) => /\.orig\.tar\.[a-z0-9]+$/.test(entry));
    return { path: file === undefined ? undefined : join(this.#directory, file), said: complaint(got) };
  }

  /** Fetches packages with all that they need. @throws Error with apt's words */
  packages(names) {
    const got = command("apt-get", ["install", "--download-only", "--yes", ...this.#options, ...names]);
    if (got.status !== 0) throw new Error(complaint(got));
    const archives = join(this.#directory, "cache/archives");
    return readdirSync(archives)
      .filter((name) => name.endsWith(".deb"))
      .map((name) => join(archives, name));
  }
}

/**
 * Fetches strongSwan's upstream tarball of a version. Of several revisions of one upstream version any has the same one, and
 * any source that has it will do: each is asked in turn.
 * @param scratch an empty folder
 * @throws Error that says what was found instead, or why nothing was
 */
export function strongswanTarball(version, suite, scratch) {
  const reasons = [];
  for (const [i, source] of packageSources(suite).entries()) {
    const apt = new Apt(join(scratch, `source-${i}`), [source]);
    const updated = apt.update();
    const offered = apt.sourceVersions("strongswan");
    const usable = offered.filter((offer) => upstream(offer) === upstream(version));
    for (const choice of new Set([version, ...usable].filter((offer) => usable.includes(offer)))) {
      const { path, said } = apt.tarball("strongswan", choice);
      if (path) return path;
      reasons.push(said);
    }
    if (offered.length > 0 && usable.length === 0) reasons.push(`there is ${offered.join(" and ")}`);
    else if (updated.status !== 0) reasons.push(complaint(updated));
  }
  throw new Error(reasons.join("\n") || "no package source of this machine has strongSwan");
}

/** Upstream part of a Debian version: `5.9.8` of `5.9.8-5+deb12u6`. */
export function upstream(version) {
  return version.replace(/^\d+:/, "").replace(/-[^-]*$/, "");
}
