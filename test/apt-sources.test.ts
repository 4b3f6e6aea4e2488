// The package sources for another suite of Debian, made from those of a machine: in both styles, with what is not
// Debian's left out.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { runJson } from "../src/lab/command.js";

const module = fileURLToPath(new URL("../../plugin/kernel-vita/apt.mjs", import.meta.url));
const own = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "stable";
const directory = mkdtempSync(join(tmpdir(), "vita-apt-"));
after(() => rmSync(directory, { recursive: true }));

const conf = join(directory, "apt.conf");
mkdirSync(join(directory, "parts"));
writeFileSync(
  conf,
  `Dir::Etc::sourcelist "${directory}/sources.list";\nDir::Etc::sourceparts "${directory}/parts";\n`,
);
writeFileSync(
  join(directory, "sources.list"),
  [
    "# a comment",
    `deb [signed-by=/k.gpg] http://mirror.test/debian ${own} main contrib`,
    `deb-src [signed-by=/k.gpg] http://mirror.test/debian ${own} main contrib`,
    "deb http://other.test/packages any main",
  ].join("\n"),
);
writeFileSync(
  join(directory, "parts", "debian.sources"),
  [
    "Types: deb",
    "URIs: http://mirror.test/debian",
    `Suites: ${own}-updates ${own}-backports`,
    "# in between",
    "Components: main",
    "",
    "Types: deb",
    "URIs: http://mirror.test/debian-security",
    `Suites: ${own}-security`,
    "Components: main",
    "",
    "Types: deb",
    "URIs: http://other.test/x",
    "Suites: nodistro",
    "Components: main",
  ].join("\n"),
);

function sources(suite?: string): Promise<{ ending: string; content: string }[]> {
  const program = `import { packageSources } from ${JSON.stringify(module)};
    console.log(JSON.stringify(packageSources(${JSON.stringify(suite)})));`;
  const env = { ...process.env, APT_CONFIG: conf };
  return runJson(process.execPath, ["--input-type=module", "-e", program], { env });
}

test("the suite takes the place of this machine's, with its updates; security comes first", async () => {
  const found = await sources("trixie");
  assert.deepEqual(
    found.map(({ ending }) => ending),
    ["sources", "list", "sources"],
  );
  const [security, main, updates] = found.map(({ content }) => content);
  assert.equal(
    security,
    "Types: deb deb-src\nURIs: http://mirror.test/debian-security\nSuites: trixie-security\nComponents: main",
  );
  assert.equal(
    main,
    "deb [signed-by=/k.gpg] http://mirror.test/debian trixie main contrib\n" +
      "deb-src [signed-by=/k.gpg] http://mirror.test/debian trixie main contrib",
  );
  assert.equal(
    updates,
    "Types: deb deb-src\nURIs: http://mirror.test/debian\nSuites: trixie-updates\nComponents: main",
  );
});

test("sid has neither updates nor security", async () => {
  assert.deepEqual(
    (await sources("sid")).map(({ content }) => /\bsid\S*/.exec(content)?.[0]),
    ["sid"],
  );
});

test("this machine's own sources stay as they are, with sources of packages added", async () => {
  const text = (await sources()).map(({ content }) => content).join("\n");
  assert.match(text, new RegExp(`Suites: ${own}-updates ${own}-backports`));
  assert.match(text, /deb-src http:\/\/other\.test\/packages any main/);
});
