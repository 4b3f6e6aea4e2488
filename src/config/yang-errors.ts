// What libyang has to say about its last call: messages with the paths that they are about.

import { type Address, ERROR, libyang, pointer, structure, textAt } from "../native/libyang.js";

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
  for (let item = yang.ly_err_first(context); item !== 0; ) {
    const view = structure(item, ERROR.size);
    if (view.getUint32(ERROR.level, true) === 0)
      errors.push({
        message: textAt(pointer(view, ERROR.msg)) ?? "",
        path: textAt(pointer(view, ERROR.path)),
        appTag: textAt(pointer(view, ERROR.apptag)),
      });
    item = pointer(view, ERROR.next);
  }
  yang.ly_err_clean(context, null);
  return errors;
}
