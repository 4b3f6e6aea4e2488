import assert from "node:assert/strict";
import { test } from "node:test";
import { parseViciText, section, text } from "./vici-text.js";

const output = `list-sa event {
  site {
    uniqueid = 1
    local-id = CN=a b, O=c
    tasks-active = [
      CHILD_REKEY
    ]
    child-sas {
      net-1 {
        spi-in = c1cdcf6b
        local-ts = [
          10.1.0.0/24
          10.3.0.0/24
        ]
      }
    }
  }
}
list-sas reply {
}
`;

test("messages, sections, lists and values with spaces and equals signs", () => {
  const [event, reply] = parseViciText(output);
  assert.equal(event?.name, "list-sa event");
  const site = section(event?.body ?? {}, "site");
  assert.equal(text(site, "local-id"), "CN=a b, O=c");
  assert.deepEqual(site["tasks-active"], ["CHILD_REKEY"]);
  const child = section(section(site, "child-sas"), "net-1");
  assert.equal(text(child, "spi-in"), "c1cdcf6b");
  assert.deepEqual(child["local-ts"], ["10.1.0.0/24", "10.3.0.0/24"]);
  assert.deepEqual(reply, { name: "list-sas reply", body: {} });
});

test("what is not there is empty", () => {
  assert.deepEqual(section({}, "x"), {});
  assert.equal(text({}, "x"), "");
});
