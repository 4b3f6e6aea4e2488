// Run in a namespace: makes, or takes over, the device to the kernel that the leaves ask for, and removes it if told to.

import { type OwnedLeaves, ownedSettings } from "../../src/config/owned-settings.js";
import { makeLogger } from "../../src/gateway/log.js";
import { PuntDevice } from "../../src/gateway/punt-device.js";

const [leaves, action] = process.argv.slice(2);
const settings = ownedSettings(JSON.parse(leaves) as OwnedLeaves);
if (!settings) throw new Error("not an owned interface");
const device = new PuntDevice(settings, "/public-interface/0", makeLogger("test"));
if (action === "remove") device.close();
