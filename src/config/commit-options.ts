// How a commit is asked for, and what it answers.

import { refusal } from "./refusal.js";

const MAX_CONFIRM_SECONDS = 7 * 24 * 3600;
const MAX_COMMENT = 1000;

export interface CommitOptions {
  /** Who changes it, for the history. */
  user: string;
  comment?: string;
  /** It is rolled back unless it is confirmed within so many seconds. */
  confirmSeconds?: number;
  /** Tag of the configuration that is to be changed; refused when another one is in force. */
  expect?: string;
}

export interface CommitResult {
  number: number;
  etag: string;
  /** Paths of what has changed: none when it was so already, and nothing was done. */
  changed: string[];
}

/** @throws ConfigurationError */
export function checkOptions({ comment = "", confirmSeconds }: CommitOptions): void {
  if (comment.length > MAX_COMMENT)
    throw refusal("invalid-value", `is longer than ${MAX_COMMENT} characters`, "/comment", comment);
  if (confirmSeconds !== undefined && !(confirmSeconds > 0 && confirmSeconds <= MAX_CONFIRM_SECONDS))
    throw refusal(
      "invalid-value",
      `is no time to confirm a commit in: up to ${MAX_CONFIRM_SECONDS} seconds`,
      "/confirm-timeout",
      String(confirmSeconds),
    );
}
