import assert from "node:assert/strict";
import test from "node:test";
import type { Configuration } from "../config/configuration.js";
import { parseConfiguration } from "../config/load.js";
import { importVita } from "./import-vita.js";

/** The example that the Vita in Lua has in its documentation. */
const documented = `
  private_interface { macaddr 52:54:00:00:00:00; pciaddr 0c:00.0; }
  public_interface { macaddr 52:54:00:00:00:FF; pciaddr 0c:00.1; }

  private_ip4 192.168.10.10;
  public_ip4 203.0.113.1;

  private_nexthop_ip4 192.168.10.1;
  public_nexthop_ip4 192.168.10.1;

  route {
    id testroute1;
    net_cidr4 192.168.20.0/24;
    gw_ip4 203.0.113.2;
    preshared_key 91440DA06376A668AC4959A840A125D75FB544E8AA25A08B813E49F0A4B2E270;
    spi 1001;
  }

  route {
    id testroute2;
    net_cidr4 192.168.30.0/24;
    gw_ip4 203.0.113.3;
    preshared_key CF0BDD7A058BE55C12B7F2AA30D23FF01BDF8BE6571F2019ED7F7EBD3DA97B47;
    spi 1223;
  }

  private_mtu 1280;

  sa_ttl 86400;
`;

/** A configuration as the model has it; what is wrong with it is thrown. */
function valid(configuration: unknown): Configuration {
  return parseConfiguration(JSON.stringify(configuration), "imported");
}

const devices = { node: "site", private: "lan0", public: "wan0", deviceOf: () => undefined };

test("the documented example becomes connections with pre-shared keys", () => {
  const { configuration, notes } = importVita(documented, devices);
  const connection = (id: string, net: string, gateway: string, key: string) => ({
    id,
    "local-address": ["203.0.113.1"],
    "remote-address": [gateway],
    local: { id: "203.0.113.1" },
    remote: { id: gateway },
    "pre-shared-key": `0x${key}`,
    child: [
      {
        id: "net",
        "local-ts": ["0.0.0.0/0"],
        "remote-ts": [net],
        "start-action": "trap",
        "life-time": 86400,
        "rekey-time": 77760,
      },
    ],
  });
  assert.deepEqual(configuration, {
    node: "site",
    "public-interface": [{ name: "wan0" }],
    "private-interface": [{ name: "lan0" }],
    mtu: 1280,
    connection: [
      connection(
        "testroute1",
        "192.168.20.0/24",
        "203.0.113.2",
        "91440DA06376A668AC4959A840A125D75FB544E8AA25A08B813E49F0A4B2E270",
      ),
      connection(
        "testroute2",
        "192.168.30.0/24",
        "203.0.113.3",
        "CF0BDD7A058BE55C12B7F2AA30D23FF01BDF8BE6571F2019ED7F7EBD3DA97B47",
      ),
    ],
  });
  const { connection: connections, mtu } = valid(configuration);
  assert.deepEqual([mtu, connections.map(({ id }) => id)], [1280, ["testroute1", "testroute2"]]);
  assert.deepEqual(notes, [
    "lan0 keeps its addresses and routes in the kernel: see that it has the address 192.168.10.10 and routes by 192.168.10.1",
    "wan0 keeps its addresses and routes in the kernel: see that it has the address 203.0.113.1 and routes by 192.168.10.1",
    "both ends must be imported: IKEv2 with pre-shared keys takes the place of Vita's own key exchange",
  ]);
});

test("a data plane in the later spelling keeps its routes and SAs", () => {
  const { configuration } = importVita(
    `private-interface4 { pci 0c:00.0; ip 172.16.1.10; nexthop-ip 172.16.1.1; }
     public-interface4 { pci 0c:00.1; ip 203.0.113.10; nexthop-ip 203.0.113.1; queue 1; }
     mtu 1400; data-plane true;
     route4 { id foo; net "172.17.1.0/24"; gateway { ip 203.0.113.2; } preshared-key "00"; spi 1001; }
     outbound-sa { spi 1234; route foo; aead "aes-gcm-16-icv"; key "00112233445566778899AABBCCDDEEFF"; salt "00112233"; }
     inbound-sa { spi 1235; queue 2; route foo; aead "aes-gcm-16-icv"; key "FF11 2233 4455 6677 8899 AABB CCDD EEFF"; salt "00112233"; }`,
    { ...devices, deviceOf: (pci) => `dev-${pci}` },
  );
  const sa = (first: string) => ({
    route: "foo",
    aead: "aes-gcm-16-icv",
    key: `${first}112233445566778899AABBCCDDEEFF`,
    salt: "00112233",
  });
  assert.deepEqual(configuration, {
    node: "site",
    "public-interface": [{ name: "wan0" }],
    "private-interface": [{ name: "lan0" }],
    mtu: 1400,
    "data-plane": true,
    route: [
      { id: "foo", net: ["172.17.1.0/24"], gateway: { ip: "203.0.113.2" }, "local-ip": "203.0.113.10" },
    ],
    "inbound-sa": [{ spi: 1235, queue: 2, ...sa("FF") }],
    "outbound-sa": [{ spi: 1234, ...sa("00") }],
  });
  const { route, ...checked } = valid(configuration);
  assert.deepEqual(
    [route[0]?.net, checked["inbound-sa"][0]?.spi, checked["outbound-sa"][0]?.spi],
    [["172.17.1.0/24"], 1235, 1234],
  );
});

test("what cannot be imported is said", () => {
  const cases: [string, RegExp][] = [
    ["private-interface4 { pci 0c:00.0; }", /the private interface at 0c:00.0 is no network device/],
    ["route { net 10.0.0.0/8; }", /the private interface has no PCI address/],
    ["route {", /line 1: the text ends within a block/],
  ];
  for (const [text, message] of cases)
    assert.throws(() => importVita(text, { node: "site", deviceOf: () => undefined }), message);
  for (const [text, message] of [
    ["route { net 10.0.0.0/8; }", /a route has no id/],
    ["route { id a; net 10.0.0.0/8; }", /route a has no gateway/],
    ["route { id a; net 10.0.0.0/8; gw-ip4 192.0.2.1; }", /route a has no preshared-key/],
  ] as const)
    assert.throws(() => importVita(text, devices), message);
});
