import assert from "node:assert/strict";
import { test } from "node:test";
import { isBetweenClients } from "./traffic.js";

test("a server of iperf3 that is between two clients is asked again, one that fails is not", () => {
  const end = {};
  const before = { connected: [] };
  for (const error of [
    "the server is busy running a test. try again later",
    "unable to connect to server: Connection refused",
    "unable to receive control message: Connection reset by peer",
  ]) {
    assert.equal(isBetweenClients({ error, start: before, end }), true, error);
    assert.equal(isBetweenClients({ error, start: { connected: [{}] }, end }), false, error);
  }
  assert.equal(isBetweenClients({ error: "unable to connect: No route to host", start: before, end }), false);
  assert.equal(isBetweenClients({ start: before, end }), false);
});
