import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { formatSegments } from "../config/data-path.js";
import { parsePath, restconfPath } from "./data-path.js";
import { parseStatements, printStatements, quote, StatementError, statementsToXml } from "./statements.js";

/** Statements without their lines. */
function parse(text: string): unknown {
  return JSON.parse(
    JSON.stringify(parseStatements(text), (key, value) => (key === "line" ? undefined : value)),
  );
}

test("the statements of an SA, on one line and one a line", () => {
  const expected = [
    { name: "spi", value: "1234" },
    { name: "route", value: "foo" },
    { name: "aead", value: "aes-gcm-16-icv" },
  ];
  assert.deepEqual(parse('spi 1234; route foo; aead "aes-gcm-16-icv";'), expected);
  assert.deepEqual(
    parse("spi 1234;\nroute foo; // a comment\n/* another\n one */ aead 'aes-gcm-16-icv';\n"),
    expected,
  );
});

test("blocks, escapes, and what they are as XML", () => {
  assert.deepEqual(parse('gateway { ip 192.0.2.2; } id "a \\"b\\"\\n";'), [
    { name: "gateway", block: [{ name: "ip", value: "192.0.2.2" }] },
    { name: "id", value: 'a "b"\n' },
  ]);
  assert.equal(
    statementsToXml(parseStatements('gateway { ip 192.0.2.2; } id "<&>";')),
    "<gateway><ip>192.0.2.2</ip></gateway><id>&lt;&amp;&gt;</id>",
  );
});

test("what is not made of statements is refused with its line", () => {
  const cases: [string, RegExp][] = [
    ["spi 1234", /line 1: ';' is missing behind spi/],
    ["spi;", /line 1: spi has neither a value nor a block/],
    ["\nroute a b;", /line 2: ';' is missing behind route and its value: values with blanks need quotes/],
    ["gateway { ip 192.0.2.2;", /line 1: the text ends within a block/],
    ["}", /line 1: there is a '}' without its '{'/],
    ["; spi 1;", /a name is expected, not ';'/],
    ['a "b', /the string that begins here has no end/],
    ["/* a", /the comment that begins here has no/],
    ['a "\\q";', /behind a backslash/],
    ["12 34;", /12 is not a name/],
    ["a { ".repeat(40), /more than 32 levels deep/],
  ];
  for (const [text, message] of cases)
    assert.throws(
      () => parseStatements(text),
      (error) => error instanceof StatementError && message.test(error.message),
      text,
    );
});

test("what is printed is read again as it was", () => {
  fc.assert(
    fc.property(fc.string(), (value) => {
      const [statement] = parseStatements(`a ${quote(value)};`);
      assert.equal(statement.value, value);
    }),
  );
  const text = printStatements({
    "vita-gateway:route": [{ id: "foo", net: ["10.0.0.0/8", "10.1.0.0/16"], gateway: { ip: "a b" } }],
    x: {},
  });
  assert.equal(
    text,
    'route {\n  id foo;\n  net 10.0.0.0/8;\n  net 10.1.0.0/16;\n  gateway {\n    ip "a b";\n  }\n}\nx {}\n',
  );
  parseStatements(text);
});

test("any text is read or refused, and nothing else", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (text) => {
      try {
        parseStatements(text);
      } catch (error) {
        assert.ok(error instanceof StatementError);
      }
    }),
  );
});

test("paths, as operators and as RESTCONF write them", () => {
  const cases: [string, string, string?][] = [
    ["/inbound-sa[spi=1234]/route", "/vita-gateway:inbound-sa=1234/route", '/inbound-sa[spi="1234"]/route'],
    ["/vita-gateway:inbound-sa[spi='1234']", "/vita-gateway:inbound-sa=1234", '/inbound-sa[spi="1234"]'],
    ['/route[id="a/b"]/net[.="10.0.0.0/8"]', "/vita-gateway:route=a%2Fb/net=10.0.0.0%2F8"],
    [
      "/gateway-state/sa[direction=in][dst=192.0.2.1][spi=ff]",
      "/vita-gateway:gateway-state/sa=in,192.0.2.1,ff",
      '/gateway-state/sa[direction="in"][dst="192.0.2.1"][spi="ff"]',
    ],
    ["/route[id='a,b']", "/vita-gateway:route=a%2Cb", '/route[id="a,b"]'],
    ["/", "", "/"],
  ];
  for (const [path, uri, formatted = path] of cases) {
    assert.equal(restconfPath(parsePath(path)), uri);
    assert.equal(formatSegments(parsePath(path)), formatted);
  }
  for (const path of [
    "route",
    "//",
    "/route[",
    "/route[id]",
    "/route[=a]",
    "/a b",
    "/route[id=a]x",
    "/route[id=a][id=b]",
    "",
  ])
    assert.throws(() => parsePath(path), /begins with|is expected/, path);
});

test("nothing that a value holds is lost in XML", () => {
  assert.equal(
    statementsToXml(parseStatements("id 'a<b>&\r\n\"c';")),
    "<id>a&lt;b&gt;&amp;&#13;\n&quot;c</id>",
  );
});
