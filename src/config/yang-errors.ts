// What libyang has to say about its last call: messages with the paths that they are about.

import { type Address, ERROR, libyang, pointerAt, textAt, uint32At } from "../native/libyang.js";

export interface YangError {
  message: string;
  /** A data path, `/vita-gateway:route[id='a']/net`, or a schema path; undefined where libyang tells none. */
  path?: string | undefined;
  appTag?: string | undefined;
}

/** Errors since the last time that this was asked; warnings are left out. */
export function takeErrors(context: Address): YangError[] {
  const yang = libyang();
  const errors: YangError[] = [];
  for (let item = yang.ly_err_first(context); item !== 0; item = pointerAt(item + ERROR.next))
    if (uint32At(item + ERROR.level) === 0)
      errors.push({
        message: textAt(pointerAt(item + ERROR.msg)) ?? "",
        path: textAt(pointerAt(item + ERROR.path)),
        appTag: textAt(pointerAt(item + ERROR.apptag)),
      });
  yang.ly_err_clean(context, null);
  return errors;
}
