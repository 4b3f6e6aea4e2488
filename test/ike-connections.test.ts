// Connections of the model in two real charons, each over a Vita, without any swanctl.conf: set up, changed, removed, refused,
// and loaded again when charon begins anew. Then the same with certificates, and a road warrior who comes with a password.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { ViciConnection } from "../src/charon/vici-connection.js";
import type { Child, Configuration, Connection } from "../src/config/configuration.js";
import { IkeConnections } from "../src/gateway/ike-connections.js";
import type { IkeState } from "../src/gateway/ike-state.js";
import { run, sleep, until } from "../src/lab/command.js";
import type { Lab } from "../src/lab/lab.js";
import { withLab } from "../src/lab/lab.js";
import {
  createNetwork,
  type Gateway,
  type Network,
  otherSide,
  type Side,
  type SitesOptions,
  startCharon,
  startGateway,
} from "../src/lab/sites.js";
import { ping } from "../src/lab/traffic.js";
import { Authority } from "./ike/certificates.js";
import { authentication, child, configuration, connection, type IkeParts } from "./ike/model.js";

const SECRET = "nobody is to read this";
const SIDES = ["a", "b"] as const;

const options: SitesOptions = {
  family: 4,
  systems: { a: "vita", b: "vita" },
  preSharedKey: "",
  unconfigured: true,
  plugins: ["pem", "pkcs1", "pubkey", "eap-mschapv2"],
};

/** One side: its charon, and what is done to it. */
class End {
  readonly log: string[] = [];
  #ike: IkeConnections;
  #configuration: Configuration | undefined;

  constructor(
    readonly gateway: Gateway,
    readonly lab: Lab,
  ) {
    this.#ike = this.#make();
  }

  get ike(): IkeConnections {
    return this.#ike;
  }

  get uri(): string {
    return this.gateway.charon.uri;
  }

  #make(): IkeConnections {
    const line = (text: string) => this.log.push(text);
    const made = new IkeConnections({
      logger: { info: line, warn: line },
      memoryFile: this.lab.path(`ike-${this.gateway.side}.json`),
      patience: 5000,
    });
    made.start();
    return made;
  }

  async apply(parts: IkeParts): Promise<void> {
    const to = configuration(this.uri, parts);
    await this.#ike.apply(this.#configuration, to);
    this.#configuration = to;
  }

  /** A supervisor that ends, and another one with another configuration. */
  async succeed(parts: IkeParts): Promise<void> {
    await this.#ike.close();
    this.#ike = this.#make();
    await this.apply(parts);
  }

  state(): Promise<IkeState> {
    return this.#ike.ikeState();
  }

  /** `connection/child local-ts remote-ts` of each CHILD_SA that is installed. */
  async installed(): Promise<string[]> {
    const { "ike-sa": sas } = await this.state();
    return sas
      .flatMap((sa) =>
        sa["child-sa"]
          .filter(({ state }) => state === "INSTALLED")
          .map((c) => `${sa.connection}/${c.child} ${c["local-ts"].join(",")} ${c["remote-ts"].join(",")}`),
      )
      .sort();
  }

  /** Inbound SPI of the one CHILD_SA that is installed. */
  async spi(): Promise<string | undefined> {
    const { "ike-sa": sas } = await this.state();
    const children = sas.flatMap((sa) => sa["child-sa"]).filter(({ state }) => state === "INSTALLED");
    assert.equal(children.length, 1);
    return children[0]["spi-in"];
  }

  /** What charon has been given, by its own lists. */
  async loaded(): Promise<{ connections: string[]; secrets: string[]; pools: string[]; keys: number }> {
    const vici = await ViciConnection.open(this.uri);
    const [connections, secrets, pools, keys] = await Promise.all(
      ["get-conns", "get-shared", "get-pools", "get-keys"].map((command) => vici.request(command)),
    );
    vici.close();
    return {
      connections: connections.texts("conns").sort(),
      secrets: secrets.texts("keys").sort(),
      pools: [...pools.sections.keys()].sort(),
      keys: keys.texts("keys").length,
    };
  }

  waitFor(installed: string[]): Promise<unknown> {
    const wanted = installed.sort().join("; ");
    return until(
      `${this.gateway.side}: ${wanted || "no SAs"}`,
      async () => (await this.installed()).join("; ") === wanted,
      8000,
    );
  }
}

class World {
  readonly ends: Record<Side, End>;

  constructor(
    readonly lab: Lab,
    readonly network: Network,
    readonly gateways: Record<Side, Gateway>,
  ) {
    this.ends = { a: new End(gateways.a, lab), b: new End(gateways.b, lab) };
  }

  /** A connection between the sites, as one side has it. */
  site(side: Side, id: string, children: Child[], more: Partial<Connection> = {}): Connection {
    const other = otherSide[side];
    return connection(
      id,
      {
        local: authentication("psk", { id: `${id}-${side}` }),
        remote: authentication("psk", { id: `${id}-${other}` }),
      },
      {
        "local-address": [this.network.sides[side].wan],
        "remote-address": [this.network.sides[other].wan],
        "pre-shared-key": `${SECRET} ${id}`,
        child: children,
        ...more,
      },
    );
  }

  /** Selectors of a child: LAN to LAN, and more on side A's. */
  selectors(side: Side, atA: string[] = []): Pick<Child, "local-ts" | "remote-ts"> {
    const { a, b } = this.network.sides;
    const ofA = [a.lan, ...atA];
    return side === "a"
      ? { "local-ts": ofA, "remote-ts": [b.lan] }
      : { "local-ts": [b.lan], "remote-ts": ofA };
  }

  async applyBoth(parts: (side: Side) => IkeParts): Promise<void> {
    // The one who waits first.
    for (const side of ["b", "a"] as const) await this.ends[side].apply(parts(side));
  }

  async pings(): Promise<number> {
    return (await ping(this.network.hosts.a, this.network.sides.b.host, 3, 0.01)).received;
  }
}

const starting = (side: Side) => (side === "a" ? ("start" as const) : ("none" as const));

test("connections of the model live in charon", async (t) => {
  await withLab("ike", async (lab) => {
    const network = await createNetwork(lab, 4);
    const authority = Authority.make(lab.path("certificates"));
    const [a, b] = await Promise.all(SIDES.map((side) => startGateway(lab, network, side, options)));
    const world = new World(lab, network, { a, b });
    const { ends } = world;
    const site = (side: Side, atA: string[] = []) =>
      world.site(side, "site", [
        child("net", { ...world.selectors(side, atA), "start-action": starting(side) }),
      ]);
    const usual = (side: Side): IkeParts => ({ connection: [site(side)] });
    const net = { a: "site/net 10.1.0.0/24 10.2.0.0/24", b: "site/net 10.2.0.0/24 10.1.0.0/24" };
    const isUp = () => Promise.all(SIDES.map((side) => ends[side].waitFor([net[side]])));

    await t.test("a pre-shared key and a child that starts make a tunnel", async () => {
      await world.applyBoth(usual);
      await isUp();
      assert.equal(await world.pings(), 3);
      const { connected, version, "ike-sa": sas } = await ends.a.state();
      assert(connected && /^[56]\./.test(version ?? ""));
      const [sa] = sas;
      assert.equal(sa["local-host"], "192.0.2.1[500]");
      assert.equal(sa["remote-id"], "site-b");
      assert.match(sa.algorithms ?? "", /^AES_GCM_16-128\/PRF_HMAC_SHA2_256\/CURVE_25519$/);
      assert(Number(sa["child-sa"][0]["packets-out"]) >= 3);
    });

    await t.test("a rekey makes new SAs", async () => {
      const spis = [await ends.a.spi()];
      for (const child of ["net", undefined]) {
        await ends.a.ike.rekey("site", child, 5);
        spis.push(await ends.a.spi());
      }
      assert.equal(new Set(spis).size, 3, spis.join());
      assert.equal(await world.pings(), 3);
    });

    await t.test("selectors that change are those of the next SA", async () => {
      const more = ["10.1.9.0/24"];
      await world.applyBoth((side) => ({ connection: [site(side, more)] }));
      await ends.a.waitFor(["site/net 10.1.0.0/24,10.1.9.0/24 10.2.0.0/24"]);
      assert.equal(await world.pings(), 3);
      await world.applyBoth(usual);
      await isUp();
    });

    const second = (side: Side) =>
      world.site(side, "second", [
        child("far", {
          "local-ts": [side === "a" ? "10.1.7.0/24" : "10.2.7.0/24"],
          "remote-ts": [side === "a" ? "10.2.7.0/24" : "10.1.7.0/24"],
        }),
      ]);

    await t.test("a second connection comes and goes, and the first does not notice", async () => {
      const [{ "unique-id": before }] = (await ends.a.state())["ike-sa"];
      await world.applyBoth((side) => ({ connection: [site(side), second(side)] }));
      await ends.a.ike.up("second", undefined, 5);
      await ends.a.ike.up("second", "far", 5);
      const far = "second/far 10.1.7.0/24 10.2.7.0/24";
      await ends.a.waitFor([net.a, far]);
      await ends.a.ike.down("second", "far", 5);
      await ends.a.waitFor([net.a]);
      await ends.a.ike.up("second", undefined, 5);
      await ends.a.waitFor([net.a, far]);
      await ends.a.apply(usual("a"));
      assert.deepEqual(await ends.a.installed(), [net.a]);
      await ends.b.waitFor([net.b]);
      assert.deepEqual(await ends.a.loaded(), {
        connections: ["site"],
        secrets: ["vita/connection/site"],
        pools: [],
        keys: 0,
      });
      assert.equal((await ends.a.state())["ike-sa"][0]["unique-id"], before);
      await ends.b.apply(usual("b"));
    });

    await t.test("what the peer does not have is told in charon's words", async () => {
      await ends.a.apply({ connection: [site("a"), second("a")] });
      await assert.rejects(ends.a.ike.up("second", undefined, 5), ({ message }: Error) => {
        assert.match(
          message,
          /^\/connection\[id="second"\]\/child\[id="far"\]: establishing CHILD_SA 'far' failed; charon's log: /,
        );
        assert.match(message, /AUTHENTICATION_FAILED/);
        return !message.includes(SECRET);
      });
      await assert.rejects(ends.a.ike.up("third", undefined, 5), {
        message: '/connection[id="third"]: charon has no such connection',
      });
      await assert.rejects(ends.a.ike.down("second", undefined, 5), /no matching SAs to terminate found/);
      await ends.a.apply(usual("a"));
    });

    await t.test("what charon refuses is told by its leaf, and the rest of the change undone", async () => {
      const before = await ends.a.loaded();
      const wrong = world.site("a", "wrong", [child("x", { "esp-proposal": ["none-such"] })]);
      const changed = { ...site("a"), "pre-shared-key": "another" };
      const pool = [{ id: "four", addresses: "10.9.0.0/24", dns: [] }];
      await assert.rejects(ends.a.apply({ connection: [changed, second("a"), wrong], pool }), {
        message:
          '/connection[id="wrong"]/child[id="x"]/esp-proposal: charon refuses it: invalid value for: esp_proposals, config discarded',
      });
      assert.deepEqual(await ends.a.loaded(), before);
      const missing = {
        ...second("a"),
        local: authentication("pubkey", { certificate: [lab.path("none.pem")] }),
      };
      await assert.rejects(ends.a.apply({ connection: [site("a"), missing] }), {
        message: `/connection[id="second"]/local/certificate: "${lab.path("none.pem")}" cannot be read (ENOENT)`,
      });
      assert.deepEqual(await ends.a.loaded(), before);
      // The secret is the old one again.
      await ends.a.ike.down("site", undefined, 5);
      await ends.a.ike.up("site", undefined, 5);
      await isUp();
    });

    await t.test("of many that are loaded together, the one that charon refuses is told", async () => {
      const before = await ends.a.loaded();
      const idle = child("x", { "start-action": "none", ...world.selectors("a", ["10.1.9.0/24"]) });
      const many = Array.from({ length: 100 }, (_, n) => world.site("a", `many-${n}`, [idle]));
      const names = many.map(({ id }) => id);
      const wrong = many.map((each, n) => (n === 70 ? { ...each, proposal: ["none-such"] } : each));
      await assert.rejects(ends.a.apply({ connection: [site("a"), ...wrong] }), {
        message:
          '/connection[id="many-70"]/proposal: charon refuses it: invalid value for: proposals, config discarded',
      });
      assert.deepEqual(await ends.a.loaded(), before);
      await ends.a.apply({ connection: [site("a"), ...many] });
      assert.deepEqual((await ends.a.loaded()).connections, [...names, "site"].sort());
      await ends.a.apply(usual("a"));
      assert.deepEqual(await ends.a.loaded(), before);
      await isUp();
    });

    await t.test(
      "a charon that was killed is given everything when it is back, and what changed meanwhile",
      async () => {
        for (const side of SIDES) {
          const { charon } = world.gateways[side];
          process.kill(charon.process.pid, "SIGKILL");
          await until("its end", () => !charon.process.running, 5000);
        }
        await until("that it is missed", () => !ends.a.ike.status().connected, 5000);
        assert.deepEqual(await ends.a.state(), { connected: false, loaded: false, "ike-sa": [] });
        await assert.rejects(ends.a.ike.up("site", undefined, 5), {
          message: `charon is not running: nobody is at its vici socket ${ends.a.uri} (ECONNREFUSED); start strongSwan, or set /charon/vici if its socket is elsewhere`,
        });
        const wrong = world.site("a", "wrong", [child("x", {})], { proposal: ["none-such"] });
        await ends.a.apply({ connection: [site("a"), wrong, second("a")] });
        assert(ends.a.log.some((line) => line.includes("is given its connections when it comes")));
        // The one who waits first: the other one's charon tries once.
        for (const side of ["b", "a"] as const) {
          const { vita } = world.gateways[side];
          world.gateways[side].charon = await startCharon(lab, network, side, options, vita);
          await until("all of it", () => ends[side].ike.status().loaded, 5000);
        }
        await isUp();
        assert.deepEqual((await ends.a.loaded()).connections, ["second", "site"]);
        assert.match(ends.a.log.at(-1) ?? "", /has been given everything, 2 connections among it$/);
        // Nobody waits for an answer any more when charon refuses something now.
        const { loaded, problem } = await ends.a.state();
        assert.equal(loaded, true);
        assert.deepEqual(problem, [
          '/connection[id="wrong"]/proposal: charon refuses it: invalid value for: proposals, config discarded',
        ]);
        await ends.a.ike.reload();
        assert.deepEqual((await ends.a.state()).problem, problem);
        await ends.a.apply({ connection: [site("a"), second("a")] });
        assert.equal((await ends.a.state()).problem, undefined);
        assert.equal(await world.pings(), 3);
      },
    );

    await t.test(
      "another supervisor takes away what the one before has loaded, and nothing else",
      async () => {
        const others = await ViciConnection.open(ends.a.uri);
        await others.request("load-conn", { others: { version: "2", children: { net: {} } } });
        await others.request("load-shared", { id: "others", type: "IKE", data: "theirs" });
        const [{ "unique-id": before }] = (await ends.a.state())["ike-sa"];
        const third = world.site("a", "third", [child("x", {})]);
        await ends.a.apply({ connection: [site("a"), second("a"), third] });
        const said = ends.a.log.length;
        await ends.a.succeed(usual("a"));
        assert.deepEqual(
          ends.a.log.slice(said).filter((line) => line.startsWith("took ")),
          ["connection", "secret"].map(
            (kind) =>
              `took ${kind} "${kind === "secret" ? "vita/connection/" : ""}second" away from charon, which is no longer configured, and 1 more like it`,
          ),
        );
        assert.deepEqual(await ends.a.loaded(), {
          connections: ["others", "site"],
          secrets: ["others", "vita/connection/site"],
          pools: [],
          keys: 0,
        });
        assert.equal((await ends.a.state())["ike-sa"][0]["unique-id"], before);
        await others.request("unload-conn", { name: "others" });
        await others.request("unload-shared", { id: "others" });
        others.close();
      },
    );

    await t.test("what swanctl --load-all takes away is given to charon again", async () => {
      assert(!ends.a.log.some((line) => line.includes('took connection "site"')));
      writeFileSync(lab.path("empty.conf"), "");
      await ends.a.gateway.charon.swanctl("--load-all", ["--noprompt", "--file", lab.path("empty.conf")]);
      assert.deepEqual((await ends.a.loaded()).connections, []);
      await until("it is back", async () => (await ends.a.loaded()).connections.length === 1, 12_000);
      await until(
        "the line",
        () => ends.a.log.some((line) => line.startsWith('somebody took secret "vita/connection/site" away')),
        1000,
      );
      await isUp();
      const lines = ends.a.log.length;
      await sleep(1700);
      assert.equal(ends.a.log.length, lines, "and once is enough");
    });

    await t.test("a tunnel goes with its connection, whether or not the peer answers", async () => {
      await run("ip", ["-n", network.wan, "link", "set", "to-b", "down"]);
      try {
        const began = performance.now();
        await ends.a.apply({});
        assert(performance.now() - began < 3000);
        const vici = await ViciConnection.open(ends.a.uri);
        const left: string[] = [];
        await vici.stream("list-sas", {}, "list-sa", (event) => left.push(...event.sections.keys()));
        vici.close();
        assert.deepEqual(left, []);
        // The other side has not heard of it, and is not answered either.
        await ends.b.ike.down("site", undefined, 1);
        assert.deepEqual((await ends.b.state())["ike-sa"], []);
      } finally {
        await run("ip", ["-n", network.wan, "link", "set", "to-b", "up"]);
      }
      await until(
        "the way to the other side",
        async () => (await ping(network.gateways.a, network.sides.b.wan, 1, 0.1)).received === 1,
        5000,
      );
    });

    const signer = await authority;
    const names = { a: "gw-a.example", b: "gw-b.example" };
    const credentials = { a: await signer.sign(names.a), b: await signer.sign(names.b) };
    const certified = (side: Side): Connection => {
      const { certificate, key } = credentials[side];
      const remote = authentication("pubkey", { id: names[otherSide[side]] });
      const { "pre-shared-key": _, ...rest } = site(side);
      return {
        ...rest,
        local: {
          ...authentication("pubkey", { id: names[side], certificate: [certificate] }),
          "private-key": key,
        },
        remote: { ...remote, "ca-certificate": side === "a" ? [signer.certificate] : [] },
      };
    };
    const trusting = (side: Side): IkeParts =>
      side === "a" ? {} : { authority: [{ id: "lab", "ca-certificate": signer.certificate }] };

    await t.test("certificates take the place of the secret", async () => {
      await world.applyBoth((side) => ({ connection: [certified(side)], ...trusting(side) }));
      await until(
        "the other identity",
        async () => {
          const { "ike-sa": sas } = await ends.a.state();
          return sas.length === 1 && sas[0]["remote-id"] === names.b && sas[0].state === "ESTABLISHED";
        },
        8000,
      );
      await isUp();
      assert.equal(await world.pings(), 3);
      assert.deepEqual(await ends.a.loaded(), { connections: ["site"], secrets: [], pools: [], keys: 1 });
    });

    await t.test("a certificate that is renewed in its file is taken when it is read again", async () => {
      const renewed = await signer.sign(names.a);
      assert.equal(renewed.certificate, credentials.a.certificate);
      await ends.a.ike.reload();
      await isUp();
      assert.equal((await ends.a.loaded()).keys, 1);
    });

    await t.test("raw public keys do without an authority", async () => {
      const keys = { a: await signer.publicKey(credentials.a), b: await signer.publicKey(credentials.b) };
      const raw = (side: Side): Connection => {
        const { local, remote, ...rest } = certified(side);
        const other = otherSide[side];
        return {
          ...rest,
          local: { ...local, id: `raw-${side}`, certificate: [], "public-key": [keys[side]] },
          remote: {
            ...authentication("pubkey", { id: `raw-${other}`, "public-key": [keys[other]] }),
            "ca-certificate": [],
          },
        };
      };
      await world.applyBoth((side) => ({ connection: [raw(side)] }));
      await until(
        "the other identity",
        async () =>
          (await ends.a.state())["ike-sa"].some(
            (sa) => sa["remote-id"] === "raw-b" && sa.state === "ESTABLISHED",
          ),
        8000,
      );
      await isUp();
      await world.applyBoth((side) => ({ connection: [certified(side)], ...trusting(side) }));
      await isUp();
    });

    await t.test("files of certificates and keys are looked at", async () => {
      const path = '/connection[id="site"]';
      const { certificate, key } = credentials.a;
      const refused = async (change: (c: Connection) => void, message: string) => {
        const changed = structuredClone(certified("a"));
        change(changed);
        await assert.rejects(ends.a.apply({ connection: [changed] }), { message });
      };
      await refused((c) => {
        c.local.certificate = [key];
      }, `${path}/local/certificate: "${key}" holds no certificate (X.509, PEM or DER)`);
      await refused((c) => {
        c.local["private-key"] = certificate;
      }, `${path}/local/private-key: "${certificate}" holds no private key (PEM or DER)`);
      await refused((c) => {
        c.remote["ca-certificate"] = [certificate];
      }, `${path}/remote/ca-certificate: the certificate of "CN=gw-a.example" in "${certificate}" is not that of an authority`);
      const half = lab.path("half.pem");
      writeFileSync(half, readFileSync(certificate, "utf8").slice(0, 300));
      await refused((c) => {
        c.local.certificate = [half];
      }, `${path}/local/certificate: "${half}" holds no certificate (X.509, PEM or DER)`);
      assert.deepEqual(await ends.a.installed(), [net.a]);
    });

    await t.test("a road warrior with a password is given an address", async () => {
      const { a, b } = network.sides;
      const server = connection(
        "warriors",
        {
          local: certified("b").local,
          remote: authentication("eap-mschapv2", { id: "%any", "eap-id": "%any" }),
        },
        { "local-address": [b.wan], pool: ["four"], child: [child("net", { "local-ts": [b.lan] })] },
      );
      const warrior = connection(
        "home",
        {
          local: authentication("eap-mschapv2", { id: "joe", "eap-id": "joe" }),
          remote: { ...authentication("pubkey", { id: names.b }), "ca-certificate": [signer.certificate] },
        },
        {
          "local-address": [a.wan],
          "remote-address": [b.wan],
          "virtual-ip": ["0.0.0.0"],
          child: [child("all", { "remote-ts": [b.lan] })],
        },
      );
      const joe = { id: "joe", type: "eap" as const, identity: ["joe"], data: "0x70617373" };
      const pool = [{ id: "four", addresses: "10.9.0.0/24", dns: ["10.2.0.53"] }];
      await ends.b.apply({ connection: [server], pool, secret: [joe], ...trusting("b") });
      await ends.a.apply({ connection: [warrior], secret: [{ ...joe, data: "pass" }] });
      await ends.a.ike.up("home", undefined, 5);
      assert.deepEqual(await ends.a.installed(), ["home/all 10.9.0.1/32 10.2.0.0/24"]);
      const { "ike-sa": sas } = await ends.b.state();
      assert.deepEqual(
        sas.map((sa) => sa["remote-virtual-ip"]),
        [["10.9.0.1"]],
      );
      // A pool with an address that is given away cannot become another one, and the change is undone.
      const other = [{ id: "four", addresses: "10.8.0.0/24", dns: [] }];
      await assert.rejects(
        ends.b.apply({ connection: [server], pool: other, secret: [joe], ...trusting("b") }),
        {
          message: '/pool[id="four"]: charon refuses it: vici pool four has online leases, unable to replace',
        },
      );
      await ends.b.apply({});
      await ends.a.waitFor([]);
      assert.deepEqual(await ends.b.loaded(), { connections: [], secrets: [], pools: [], keys: 0 });
      assert(!ends.b.ike.status().connected);
      await ends.a.apply({});
    });

    await t.test(
      "another charon takes everything over, and one that refuses leaves it where it was",
      async (t) => {
        const warn: string[] = [];
        const mover = new IkeConnections({ logger: { info: () => {}, warn: (line) => warn.push(line) } });
        t.after(() => mover.close());
        mover.start();
        const held = async () => [(await ends.a.loaded()).connections, (await ends.b.loaded()).connections];
        const at = (side: Side, ...connections: Connection[]) =>
          configuration(ends[side].uri, { connection: connections });
        await mover.apply(undefined, at("a", second("a")));
        assert.deepEqual(await held(), [["second"], []]);
        const wrong = { ...second("a"), id: "wrong", proposal: ["none-such"] };
        await assert.rejects(mover.apply(undefined, at("b", second("a"), wrong)), {
          path: '/connection[id="wrong"]/proposal',
        });
        assert.deepEqual(await held(), [["second"], []]);
        await mover.apply(undefined, at("b", second("a")));
        assert.deepEqual(await held(), [[], ["second"]]);
        await mover.apply(undefined, at("b"));
        assert.deepEqual(await held(), [[], []]);
        assert.deepEqual(warn, []);
      },
    );

    await t.test("a charon that does not answer is given everything when it does", async (t) => {
      const { pid } = ends.a.gateway.charon.process;
      const log: string[] = [];
      const line = (text: string) => log.push(text);
      const patient = new IkeConnections({ logger: { info: line, warn: line }, patience: 500 });
      t.after(() => patient.close());
      patient.start();
      await patient.apply(undefined, configuration(ends.a.uri, { connection: [site("a")] }));
      process.kill(pid, "SIGSTOP");
      try {
        await patient.apply(undefined, configuration(ends.a.uri, { connection: [second("a")] }));
        assert.match(
          log.join(),
          /no answer to "[a-z-]+" within 500 ms; it is given its connections when it comes back/,
        );
      } finally {
        process.kill(pid, "SIGCONT");
      }
      await until("the change", async () => (await ends.a.loaded()).connections.join() === "second", 5000);
      await patient.apply(undefined, configuration(ends.a.uri, {}));
    });

    for (const side of SIDES) {
      const said = `${ends[side].log.join("\n")}\n${readFileSync(lab.path(`ike-${side}.json`), "utf8")}`;
      assert(!said.includes(SECRET) && !said.includes("70617373"), "no secret is written down");
      await ends[side].ike.close();
    }
  });
});
