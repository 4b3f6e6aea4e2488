// The model's operations, called on a node.

import { RestconfClient } from "./restconf-client.js";

/**
 * @param seconds that the operation itself may take before the node answers
 * @throws CliError
 */
export async function callOperation(
  node: string,
  rpc: string,
  input: object = {},
  seconds?: number,
): Promise<void> {
  const hasInput = Object.keys(input).length > 0;
  await new RestconfClient(node).send({
    method: "POST",
    path: `/restconf/operations/vita-gateway:${rpc}`,
    ...(hasInput
      ? { body: JSON.stringify({ "vita-gateway:input": input }), contentType: "application/yang-data+json" }
      : {}),
    ...(seconds === undefined ? {} : { seconds }),
  });
}
